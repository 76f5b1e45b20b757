//! Goroutines: whoever keeps a connection from being closed is told with what it waits in.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use tests::client::{Manner, visit};
use tests::manifest::Entry;
use tests::report::Report;
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{manifest, skip, wait};

const CONNECTIONS: usize = 5;

/// The rig waits already when the watch begins, so it is known at every call; then its clients come and go.
fn watched(build: &str, runtimes: &str) -> Report {
    let entry = Entry {
        name: format!("owner_blocked-{build}"),
        source: "go/owner_blocked.go".to_owned(),
        build: build.to_owned(),
        client: Manner::RequestThenClose,
        ..manifest::entry("go-eof-ignored")
    };
    let rig = Rig::start(&entry, &Start::default());
    let pid = rig.pid().to_string();
    let options = [
        "--json",
        "--min-age",
        "1s",
        "--pid",
        &pid,
        "--runtimes",
        runtimes,
    ];
    let watch = Running::watch(options);
    // Language runtimes are looked for when tracing has begun.
    std::thread::sleep(Duration::from_secs(2));
    visit(rig.address(), CONNECTIONS, Manner::RequestThenClose);
    rig.wait_until_stuck();
    wait::outlive_one_second();
    let mut report = watch.stop().report();
    report
        .sites
        .retain(|site| site.process.as_ref().is_some_and(|of| of.pid == rig.pid()));
    report
}

#[test]
fn goroutines_that_wait_for_a_lock_are_the_finding() {
    let name = "goroutines_that_wait_for_a_lock_are_the_finding";
    if !skip::require_root(name) {
        return;
    }
    for build in ["go", "go-stripped"] {
        let report = watched(build, "go");
        let site = &report.sites[0];
        assert_eq!(report.sites.len(), 1, "{:#?}", report.sites);
        assert_eq!(
            (site.verdict.as_str(), site.count),
            ("owner-blocked", CONNECTIONS),
            "{site:#?}"
        );
        let blame = site.blame.as_ref().expect("somebody is blamed");
        assert_eq!(blame.function, "main.updateStatistics");
        let share = "5 of 5 goroutines that touched these connections and still exist wait in \
                     sync.(*Mutex).Lock ← main.updateStatistics";
        assert!(
            site.evidence.iter().any(|line| line == share),
            "{:#?}",
            site.evidence
        );
        let holders = site.stacks.holders.as_ref().expect("the goroutines");
        let locked = holders.iter().filter(|holder| {
            let frames = holder.stack.as_ref().expect("a stack");
            holder
                .name
                .as_deref()
                .is_some_and(|name| name.starts_with("goroutine "))
                && frames
                    .iter()
                    .any(|frame| frame.name() == "main.updateStatistics")
        });
        assert_eq!(locked.count(), CONNECTIONS, "{holders:#?}");
    }
}

#[test]
fn without_goroutines_nothing_is_concluded_from_threads() {
    let name = "without_goroutines_nothing_is_concluded_from_threads";
    if !skip::require_root(name) {
        return;
    }
    let report = watched("go", "none");
    for site in &report.sites {
        assert_eq!(site.confidence, "low", "{site:#?}");
    }
}
