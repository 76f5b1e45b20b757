//! What the threads of a holder wait in: the whole stack, also of code that needs frame pointers, and
//! since when, which is never longer than true.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;
use tests::client::Manner;
use tests::manifest::Entry;
use tests::report::{Frame, HolderThread, Report};
use tests::rig::Rig;
use tests::{manifest, skip, sockleak, wait};

#[test]
fn a_rust_thread_shows_its_way_to_main() {
    let name = "a_rust_thread_shows_its_way_to_main";
    if !skip::require_root(name) {
        return;
    }
    let rig = holder("rust-eof-ignored", "rust/waiting_holder.rs");
    wait::outlive_one_second();
    let threads = threads(&snapshot(&rig), &rig);
    let function = "waiting_holder::wait_for_backend";
    let waits = with_call(&threads, "read", function);
    shows(
        waits,
        &[
            (function, 1),
            ("waiting_holder::main", 1),
            ("main", 1),
            ("_start", 1),
        ],
    );
    let function = "waiting_holder::sleep_until_noon";
    let sleeps = with_call(&threads, "clock_nanosleep", function);
    shows(sleeps, &[(function, 1), ("start_thread", 1)]);
}

#[test]
fn a_go_thread_shows_its_way_to_main() {
    let name = "a_go_thread_shows_its_way_to_main";
    if !skip::require_root(name) {
        return;
    }
    let rig = holder("go-eof-ignored", "go/waiting_holder.go");
    wait::outlive_one_second();
    let threads = threads(&snapshot(&rig), &rig);
    let waits = with_call(&threads, "read", "main.waitForBackend");
    shows(
        waits,
        &[
            ("main.waitForBackend", 4),
            ("main.main", 1),
            ("runtime.main", 1),
            ("runtime.goexit", 1),
        ],
    );
    let sleeps = with_call(&threads, "nanosleep", "main.sleepUntilNoon");
    shows(sleeps, &[("main.sleepUntilNoon", 1), ("runtime.goexit", 1)]);
}

/// The rig works for half a second, says the time, and reads. What is claimed may lack the thousandth by which
/// the two clocks can differ, the age of the last tick, and what interrupts and the hypervisor took of the CPU
/// meanwhile; and the report is made some time after the look.
#[test]
fn two_seconds_in_read_are_two_seconds() {
    let name = "two_seconds_in_read_are_two_seconds";
    if !skip::require_root(name) {
        return;
    }
    // On a busy machine the rig itself may come late from saying the time to reading.
    let close = (0..3).any(|_| {
        let rig = holder("rust-eof-ignored", "rust/waiting_holder.rs");
        let began = Duration::from_nanos(rig.waits_since());
        let taken_before = taken_from_cpus();
        [2, 4].into_iter().all(|seconds| {
            sleep_until(began + Duration::from_secs(seconds));
            let asked = std::time::Instant::now();
            let report = snapshot(&rig);
            let late = asked.elapsed().as_secs_f64();
            let threads = threads(&report, &rig);
            let waits = with_call(&threads, "read", "waiting_holder::wait_for_backend");
            assert_eq!(waits.state.as_deref(), Some("S"));
            let said = waits.since_seconds.expect("a time");
            let truth = unix_seconds(&report.window.end) - began.as_secs_f64();
            let taken = taken_from_cpus() - taken_before;
            println!(
                "said {said:.3} s, in truth {truth:.3} s; {taken:.2} s of CPU taken, a look of {late:.2} s"
            );
            // The report rounds to milliseconds.
            assert!(said < truth + 0.002, "{said} claimed, {truth} true");
            said > truth - 0.050 - taken - late
        })
    });
    assert!(close, "never within 50 ms of what can be known");
}

/// Seconds that interrupts and the hypervisor took of all CPUs since boot (`irq`, `softirq`, `steal` of /proc/stat).
fn taken_from_cpus() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
    let all = text.lines().next().expect("a first line");
    let ticks = all.split_ascii_whitespace().skip(6).take(3);
    ticks
        .map(|ticks| ticks.parse::<f64>().expect("ticks"))
        .sum::<f64>()
        / 100.0
}

fn sleep_until(end: Duration) {
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).expect("a clock");
    std::thread::sleep(end.saturating_sub(now));
}

/// The rig of another entry's build from another source.
fn holder(like: &str, source: &str) -> Rig {
    let entry = Entry {
        name: "waiting_holder".to_owned(),
        source: source.to_owned(),
        client: Manner::RequestThenClose,
        ..manifest::entry(like)
    };
    let rig = Rig::leaking(&entry);
    rig.waits_since();
    rig
}

fn snapshot(rig: &Rig) -> Report {
    let pid = rig.pid().to_string();
    sockleak::run(["snapshot", "--json", "--min-age", "1s", "--pid", &pid]).report()
}

fn threads(report: &Report, rig: &Rig) -> Vec<HolderThread> {
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{sites:#?}");
    sites[0]
        .stacks
        .holders
        .clone()
        .expect("the holder's threads")
}

fn with_call<'t>(threads: &'t [HolderThread], call: &str, function: &str) -> &'t HolderThread {
    let is_it = |thread: &&HolderThread| {
        thread.syscall.as_deref() == Some(call) && count(thread, function) > 0
    };
    let found = threads.iter().find(is_it);
    found.unwrap_or_else(|| panic!("no thread is in {call} below {function}: {threads:#?}"))
}

fn count(thread: &HolderThread, function: &str) -> usize {
    let frames = thread.stack.iter().flatten();
    frames.filter(|frame| frame.name() == function).count()
}

/// These functions at least so often (compilers unroll calls), and from the inside out in this order.
fn shows(thread: &HolderThread, wanted: &[(&str, usize)]) {
    let names: Vec<String> = thread.stack.iter().flatten().map(Frame::name).collect();
    let mut places = Vec::new();
    for (function, times) in wanted {
        assert!(count(thread, function) >= *times, "{function}: {names:#?}");
        places.push(names.iter().position(|name| name == function));
    }
    assert!(places.is_sorted(), "{names:#?}");
}

/// From RFC 3339, with the help of the system.
fn unix_seconds(time: &str) -> f64 {
    let mut date = std::process::Command::new("date");
    let output = date
        .args(["+%s.%N", "-d", time])
        .output()
        .expect("run date");
    let text = String::from_utf8(output.stdout).expect("a number");
    text.trim().parse().expect("a number")
}
