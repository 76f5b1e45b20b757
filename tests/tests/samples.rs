//! What threads that run compute, by samples of them: named, few at once, and with nothing left behind.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use tests::report::{Frame, HolderThread, Report};
use tests::rig::{Rig, Start};
use tests::sockleak::{self, Running};
use tests::{manifest, process, skip, wait};

const SOON: Duration = Duration::from_secs(20);
/// Threads sampled at once, as ARCHITECTURE.md promises.
const AT_ONCE: usize = 8;

#[test]
fn what_a_busy_thread_computes_is_told_and_nothing_stays_open() {
    let name = "what_a_busy_thread_computes_is_told_and_nothing_stays_open";
    if !skip::require_root(name) {
        return;
    }
    let mut rig = Rig::start(&manifest::entry("c-owner-blocked-cpu"), &Start::default());
    let watch = Running::watch(["--pid", &rig.pid().to_string(), "--min-age", "1s", "--json"]);
    rig.drive();
    let before = events(watch.pid());
    wait::wait_for("its threads are sampled", SOON, || rings(watch.pid()) == 2);
    assert_eq!(events(watch.pid()), before + 2);
    let mut most = 0;
    wait::wait_for("the round ends", SOON, || {
        let now = rings(watch.pid());
        most = most.max(now);
        now == 0
    });
    assert!(most <= AT_ONCE, "{most}");
    assert_eq!(events(watch.pid()), before);
    wait::wait_for("the function is told", SOON, || {
        let lines = watch.stderr().so_far();
        lines.iter().any(|line| line.contains("compute_answer"))
    });
    let report = watch.stop().report();
    let threads = threads(&report, &rig);
    let busy: Vec<_> = threads.iter().filter(|one| computes(one)).collect();
    assert_eq!(busy.len(), 2, "{threads:#?}");
    assert!(busy.iter().all(|one| one.samples >= Some(50)), "{busy:#?}");
    // Who watches from the rig itself waits.
    let waits = threads
        .iter()
        .find(|one| one.syscall.as_deref() == Some("poll"));
    assert_eq!(waits.expect("its first thread").samples, None);
    let evidence = report.sites[0].evidence.join("; ");
    assert!(
        evidence.contains("it computes in compute_answer"),
        "{evidence}"
    );
}

/// Within a second, and where nothing runs without any.
#[test]
fn a_look_samples_threads_that_run() {
    if !skip::require_root("a_look_samples_threads_that_run") {
        return;
    }
    let rig = Rig::leaking(&manifest::entry("c-owner-blocked-cpu"));
    wait::outlive_one_second();
    let threads = threads(&snapshot(&rig), &rig);
    assert!(threads.iter().any(computes), "{threads:#?}");
    let rig = Rig::leaking(&manifest::entry("c-owner-blocked-lock"));
    wait::outlive_one_second();
    let report = snapshot(&rig);
    let mut threads = self::threads(&report, &rig).into_iter();
    assert!(threads.all(|one| one.samples.is_none()));
}

fn snapshot(rig: &Rig) -> Report {
    let pid = rig.pid().to_string();
    sockleak::run(["snapshot", "--json", "--min-age", "1s", "--pid", &pid]).report()
}

fn threads(report: &Report, rig: &Rig) -> Vec<HolderThread> {
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{sites:#?}");
    sites[0].stacks.holders.clone().expect("its threads")
}

fn computes(thread: &HolderThread) -> bool {
    let mut frames = thread.stack.iter().flatten();
    thread.samples.is_some() && frames.next().map(Frame::name).as_deref() == Some("compute_answer")
}

fn events(pid: u32) -> usize {
    let descriptors = process::descriptors(pid).into_iter();
    let events = descriptors.filter(|(_, to)| to.ends_with("anon_inode:[perf_event]"));
    events.count()
}

/// Mapped; an event of a hook has none.
fn rings(pid: u32) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.matches("[perf_event]").count()
}
