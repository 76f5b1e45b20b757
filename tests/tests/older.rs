//! Sockets that were stuck before the tracer came: found at once, counted as `ss` counts them,
//! with a lower bound where the age cannot be known.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tests::report::{Report, Site};
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{expect, manifest, process, skip, sockleak, ss, wait};

/// Every socket of every site is listed, so that sets can be compared.
const ALL: [&str; 4] = ["--min-age", "1s", "--sockets-per-site", "100000"];

#[test]
fn snapshot_finds_what_ss_finds() {
    if !skip::require_root("snapshot_finds_what_ss_finds") {
        return;
    }
    for name in [
        "c-eof-ignored",
        "c-lost-reference",
        "c-eof-ignored-ipv6",
        "c-eof-ignored-dual-stack",
    ] {
        let rig = Rig::leaking(&manifest::entry(name));
        wait::outlive_one_second();
        let report = snapshot();
        let site = the_site(&report, &rig);
        assert_eq!(
            ends(site),
            ss::close_wait(rig.port),
            "{name}: the same sockets as ss"
        );
        assert!(site.age_is_lower_bound, "{name}: nobody saw the FIN come");
        let lived = rig.started.elapsed().as_secs_f64();
        assert!(
            site.oldest_seconds >= 1.0 && site.oldest_seconds <= lived,
            "{name}: {site:#?}"
        );
        holds_all(site, &rig);
    }
}

#[test]
fn snapshot_counts_two_thousand() {
    if !skip::require_root("snapshot_counts_two_thousand") {
        return;
    }
    let entry = manifest::entry("c-lost-reference");
    let mut rig = Rig::start(
        &entry,
        &Start {
            connections: Some(2000),
            ..Start::default()
        },
    );
    rig.drive();
    wait::outlive_one_second();
    let began = Instant::now();
    let report = snapshot();
    let took = began.elapsed();
    let site = the_site(&report, &rig);
    assert_eq!(
        ends(site),
        ss::close_wait(rig.port),
        "the same sockets as ss"
    );
    holds_all(site, &rig);
    assert!(
        took < Duration::from_secs(3),
        "a snapshot of 2,000 took {took:?}"
    );
}

#[test]
fn snapshot_sees_the_unaccepted() {
    if !skip::require_root("snapshot_sees_the_unaccepted") {
        return;
    }
    let rig = Rig::leaking(&manifest::entry("c-never-accepted"));
    wait::outlive_one_second();
    let report = snapshot();
    let site = expect::one_site(&report, &rig);
    assert_eq!(
        ends(site),
        ss::close_wait(rig.port),
        "the same sockets as ss"
    );
    assert!(
        report.totals.unaccepted >= rig.stuck as u64,
        "{:?}",
        report.totals
    );
}

/// ss and netstat cannot show these: the comparison is with the descriptors in /proc.
#[test]
fn snapshot_sees_the_hidden() {
    if !skip::require_root("snapshot_sees_the_hidden") {
        return;
    }
    let rig = Rig::leaking(&manifest::entry("c-hidden-closed-reset"));
    wait::outlive_one_second();
    assert!(ss::close_wait(rig.port).is_empty(), "ss does not see them");
    let report = snapshot();
    let held: BTreeSet<_> = process::sockets(rig.pid()).into_values().collect();
    let hidden = report
        .sites
        .iter()
        .filter(|site| site.verdict == "hidden-closed");
    let sockets = hidden.flat_map(|site| &site.sockets);
    let found = sockets
        .filter_map(|socket| socket.inode)
        .filter(|inode| held.contains(inode));
    assert_eq!(found.count(), rig.stuck, "{:#?}", report.sites);
    assert!(
        report.totals.hidden >= rig.stuck as u64,
        "{:?}",
        report.totals
    );
}

#[test]
fn snapshot_names_whoever_holds_them() {
    if !skip::require_root("snapshot_names_whoever_holds_them") {
        return;
    }
    for name in ["c-inherited-fd", "c-dup-fd"] {
        let rig = Rig::leaking(&manifest::entry(name));
        wait::outlive_one_second();
        let report = snapshot();
        let site = the_site(&report, &rig);
        assert_eq!(
            ends(site),
            ss::close_wait(rig.port),
            "{name}: the same sockets as ss"
        );
        let pid = if name == "c-inherited-fd" {
            rig.helper()
        } else {
            rig.pid()
        };
        let holders: BTreeSet<_> = site
            .sockets
            .iter()
            .flat_map(|s| &s.fds)
            .map(|fd| fd.pid)
            .collect();
        assert_eq!(holders, BTreeSet::from([pid]), "{name}");
    }
}

#[test]
fn watch_begins_with_what_is_already_stuck() {
    if !skip::require_root("watch_begins_with_what_is_already_stuck") {
        return;
    }
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    let options = ["--json", "--duration", "60s"];
    let tracer = Running::watch(options.iter().chain(&ALL));
    let younger = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    let report = tracer.stop().report();
    assert!(
        the_site(&report, &rig).age_is_lower_bound,
        "older than the tracer"
    );
    expect::exact_ages(the_site(&report, &younger), &younger);
}

/// One snapshot, with all sockets of all sites.
fn snapshot() -> Report {
    sockleak::run(["snapshot", "--json"].iter().chain(&ALL)).report()
}

/// Without history the verdict may be less sure, but there is still one site, with every socket.
fn the_site<'a>(report: &'a Report, rig: &Rig) -> &'a Site {
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{}: {sites:#?}", rig.entry.name);
    assert_eq!(sites[0].count, rig.stuck, "{}", rig.entry.name);
    sites[0]
}

fn ends(site: &Site) -> BTreeSet<(String, String)> {
    assert_eq!(site.sockets_omitted, 0, "--sockets-per-site lists them all");
    site.sockets
        .iter()
        .map(|socket| (socket.local.clone(), socket.remote.clone()))
        .collect()
}

/// Each socket is held by the rig, at the descriptor /proc shows for that inode.
fn holds_all(site: &Site, rig: &Rig) {
    let open = process::sockets(rig.pid());
    for socket in &site.sockets {
        let fds: Vec<_> = socket
            .fds
            .iter()
            .map(|fd| (fd.pid, open.get(&fd.fd).copied()))
            .collect();
        assert_eq!(
            fds,
            [(rig.pid(), socket.inode)],
            "{}: {socket:?}",
            rig.entry.name
        );
    }
}
