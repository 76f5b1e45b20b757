//! Filters keep to their own, and an empty report says which filter made it so.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use tests::report::Report;
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{expect, manifest, skip, sockleak, wait};

const SHORT: [&str; 4] = ["watch", "--json", "--duration", "500ms"];

#[test]
fn a_filter_that_matches_nothing_is_reported() {
    if !skip::require_root("a_filter_that_matches_nothing_is_reported") {
        return;
    }
    let _rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    let nobody = ["--min-age", "1s", "--comm", "no-such-program"];
    let finished = sockleak::run(SHORT.iter().chain(&nobody));
    finished.said(125, &["no process is named no-such-program"]);
    let report = Report::parse(&finished.stdout);
    let sites = &report.sites;
    assert!(sites.is_empty(), "the filter holds: {sites:#?}");
    let told = report
        .warnings
        .iter()
        .any(|line| line.contains("no-such-program"));
    assert!(told, "{:#?}", report.warnings);
    for (filter, told) in [
        (
            ["--comm", "no-such-program"],
            "no process is named no-such-program",
        ),
        (["--port", "1"], "no socket uses port 1"),
    ] {
        let finished = sockleak::run(["snapshot"].iter().chain(&filter));
        finished.said(125, &[told]);
        assert!(
            finished.stdout.is_empty(),
            "no good news: {}",
            finished.stdout
        );
    }
}

#[test]
fn a_filter_lets_its_own_through() {
    if !skip::require_root("a_filter_lets_its_own_through") {
        return;
    }
    let wanted = Rig::leaking(&manifest::entry("c-eof-ignored"));
    let other = Rig::leaking(&manifest::entry("c-lost-reference"));
    wait::outlive_one_second();
    let (port, pid) = (wanted.port.to_string(), wanted.pid().to_string());
    for filter in [["--port", &port], ["--pid", &pid]] {
        let args = ["snapshot", "--json", "--min-age", "1s"];
        let report = sockleak::run(args.iter().copied().chain(filter)).report();
        assert_eq!(
            report.on_port(wanted.port).len(),
            1,
            "{filter:?}: {:#?}",
            report.sites
        );
        assert!(
            report.on_port(other.port).is_empty(),
            "{filter:?}: {:#?}",
            report.sites
        );
    }
}

/// The process named forks its helper only later; the helper's sockets are its own business too.
#[test]
fn a_pid_includes_its_children() {
    if !skip::require_root("a_pid_includes_its_children") {
        return;
    }
    let entry = manifest::entry("c-inherited-fd");
    let mut rig = Rig::start(&entry, &Start::default());
    let pid = rig.pid().to_string();
    let args = ["--json", "--min-age", "1s", "--pid", &pid];
    let tracer = Running::watch(args);
    rig.drive();
    wait::outlive_one_second();
    let report = tracer.stop().report();
    let site = expect::one_site(&report, &rig);
    expect::exact_ages(site, &rig);
    let now = ["snapshot", "--json", "--min-age", "1s", "--pid", &pid];
    assert_eq!(sockleak::run(now).report().on_port(rig.port).len(), 1);
}
