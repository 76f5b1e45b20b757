//! The case this tool was made for: the five workers of a Java server's metrics endpoint are in
//! write(2) to scrapers that stopped reading, and two thousand later scrapes, those of a real
//! Prometheus among them, wait unread behind them. First judged by /proc and `ss`, then reported.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;
use tests::report::Site;
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{expect, manifest, process, skip, ss, wait};

const SCRAPES: usize = 2000;
/// In which the workers get through all of them.
const LIMIT: Duration = Duration::from_mins(1);
const WORKERS: [&str; 5] = [
    "pool-1-thread-1",
    "pool-1-thread-2",
    "pool-1-thread-3",
    "pool-1-thread-4",
    "pool-1-thread-5",
];

#[test]
fn five_starved_workers_and_two_thousand_scrapes() {
    let test = "five_starved_workers_and_two_thousand_scrapes";
    let entry = manifest::entry("prometheus-worker-starvation");
    if !skip::require_root(test) || !skip::require_needs(test, &entry) {
        return;
    }
    tests::compile::command(&entry);
    let tracer = Running::watch(["--json", "--min-age", "1s", "--duration", "120s"]);
    let how = Start {
        connections: Some(SCRAPES),
        ..Start::default()
    };
    let mut rig = Rig::start(&entry, &how);
    rig.drive();
    assert!(rig.stuck >= SCRAPES, "{} are stuck", rig.stuck);
    let starved = starved_workers(&rig);
    wait::outlive_one_second();
    let report = tracer.stop().report();
    let site = expect::one_site(&report, &rig);
    expect::exact_ages(site, &rig);
    expect::blamed(site, &rig);
    assert!(report.window.complete, "{:?}", report.warnings);
    told(site, &starved);
    relieved(site, &rig);
}

/// Each worker is in write(2) to a scraper of its own which does not read: descriptor by thread.
fn starved_workers(rig: &Rig) -> BTreeMap<String, u32> {
    let threads = process::threads(rig.pid()).into_iter();
    let writes = |(name, call): (String, process::Call)| {
        let writes = call.number == process::WRITE;
        writes.then(|| (name, u32::try_from(call.first).expect("a descriptor")))
    };
    let starved: BTreeMap<_, _> = threads.filter_map(writes).collect();
    let names: BTreeSet<_> = starved.keys().map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(WORKERS), "who is in write(2)");
    let sockets = process::sockets(rig.pid());
    let inodes: BTreeSet<_> = starved.values().map(|fd| sockets[fd]).collect();
    assert_eq!(
        inodes,
        ss::full_send_queues(rig.port),
        "what they write to is what has no room"
    );
    assert_eq!(inodes.len(), WORKERS.len(), "each to a socket of its own");
    starved
}

/// The report shows these threads and no others in a write, and names each in its evidence.
fn told(site: &Site, starved: &BTreeMap<String, u32>) {
    let threads = site.stacks.holders.iter().flatten();
    let writes = threads.filter(|thread| thread.syscall.as_deref() == Some("write"));
    let shown: BTreeMap<_, _> = writes
        .map(|thread| (thread.comm.clone(), thread.fd.expect("where it writes to")))
        .collect();
    assert_eq!(&shown, starved, "the starved workers");
    for (name, fd) in starved {
        let says = |line: &&String| line.contains(name) && line.contains(&format!("fd {fd})"));
        let lines = site.evidence.iter().filter(says).count();
        assert_eq!(lines, 1, "{name}: {:#?}", site.evidence);
    }
}

/// The commands of the report, run as they are, end the five stalled scrapers and nothing else; the workers go
/// on, and all that was stuck is served and closed.
fn relieved(site: &Site, rig: &Rig) {
    let Some(relief) = &site.relief else {
        let why = "CONFIG_INET_DIAG_DESTROY";
        assert!(site.advice.contains(why), "no relief: {}", site.advice);
        return;
    };
    let stalled = ss::full_send_queues(rig.port).len();
    let commands: Vec<&str> = relief.split("; ").collect();
    assert_eq!(commands.len(), stalled, "{relief}");
    for command in commands {
        let words: Vec<&str> = command.split(' ').collect();
        let ["ss", "-K", "-t", "src", _, "dst", _] = words[..] else {
            panic!("a filter that says less: {command}");
        };
        let ended = Command::new(words[0]).args(&words[1..]).output();
        let text = String::from_utf8(ended.expect("ss").stdout).expect("text");
        assert_eq!(
            text.lines().count(),
            2,
            "a title and one connection: {text}"
        );
    }
    wait::wait_for("nothing is stuck any more", LIMIT, || {
        ss::close_wait(rig.port).is_empty()
    });
}
