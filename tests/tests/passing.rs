//! Programs that end, execute another program, or leave their pid to another one while they are looked at: what is
//! told of them is theirs or nothing, never another program's function, and what leaks beside them is found.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;
use tests::keeper::{self, Keeper};
use tests::report::Report;
use tests::sockleak::{self, Running};
use tests::{paths, skip, wait};

const STEADY: &str = "steady_keeps";
const PASSING: &str = "passing_keeps";
const FIRST: &str = "first_keeps";
const SECOND: &str = "second_keeps";
const SOCKETS: usize = 20;
/// Each passing program lives so much longer than the one before, so that its end meets every part of what is done
/// with its stacks and its sockets.
const STEP: Duration = Duration::from_millis(12);
const PROGRAMS: u32 = 40;

/// What is blamed for each socket of a port; `None` where nothing is.
fn blamed(report: &Report, port: u16) -> Vec<Option<&str>> {
    let ends = format!(":{port}");
    let mut of_sockets = Vec::new();
    for site in report.on_port(port) {
        let blame = site.blame.as_ref().map(|blame| blame.function.as_str());
        let its = site.sockets.iter().filter(|one| one.local.ends_with(&ends));
        of_sockets.extend(its.map(|_| blame));
    }
    of_sockets
}

fn expect_steady(report: &Report, port: u16) {
    let named = blamed(report, port);
    assert_eq!(named, [Some(STEADY); SOCKETS], "{:?}", report.warnings);
}

#[test]
fn programs_that_end_while_they_are_followed() {
    let name = "programs_that_end_while_they_are_followed";
    if !skip::require_root(name) || !skip::require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let steady = keeper::compiled(folder.path(), STEADY, 0);
    let passing = keeper::compiled(folder.path(), PASSING, 3000);
    let tracer = Running::watch([
        "--json",
        "--min-age",
        "100ms",
        "--sockets-per-site",
        "100000",
    ]);
    let steady = Keeper::start(&steady, SOCKETS, &[]);
    // Who passes may not have its place in the line of those to be named.
    wait::outlive_one_second();
    let mut ports = Vec::new();
    let mut kept = Vec::new();
    for number in 0..PROGRAMS {
        let life = (STEP * number).as_millis().max(1).to_string();
        let program = Keeper::start(&passing, SOCKETS, &[&life]);
        ports.push(program.port());
        kept.push(program);
        sleep(STEP);
    }
    wait::outlive_one_second();
    let finished = tracer.stop();
    finished.said(0, &[]);
    let report = finished.report();
    let mut told = BTreeMap::new();
    for port in &ports {
        for function in blamed(&report, *port) {
            *told.entry(function).or_insert(0_usize) += 1;
        }
    }
    let all: usize = told.values().sum();
    eprintln!("{PROGRAMS} passing programs, {all} of their sockets are told: {told:?}");
    expect_steady(&report, steady.port());
    let right = told.get(&Some(PASSING)).copied().unwrap_or(0);
    let unknown = told.get(&None).copied().unwrap_or(0);
    assert_eq!(right + unknown, all, "another's function: {told:?}");
    assert!(right > 0, "{right} of {all} named: {told:?}");
}

#[test]
fn programs_that_end_or_execute_another_in_the_middle_of_a_look() {
    let name = "programs_that_end_or_execute_another_in_the_middle_of_a_look";
    if !skip::require_root(name) || !skip::require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let passing = keeper::compiled(folder.path(), PASSING, 3000);
    let steady = keeper::compiled(folder.path(), STEADY, 0);
    let steady = Keeper::start(&steady, SOCKETS, &[]);
    steady.port();
    let mut told = BTreeMap::new();
    for number in 0..12_u32 {
        let program = Keeper::start(&passing, SOCKETS, &["0", "/bin/sleep", "60"]);
        let port = program.port();
        // Its sockets are of age when the look begins.
        sleep(Duration::from_millis(150));
        let mut command = sockleak::command(["snapshot", "--json", "--min-age", "100ms"]);
        let look = Running::start(command.args(["--sockets-per-site", "100000"]));
        sleep(STEP * 2 * number);
        let end = [Signal::KILL, Signal::USR1];
        program.signal(end[number as usize % 2]);
        let finished = look.finish(Duration::from_secs(30));
        finished.said(0, &[]);
        let report = finished.report();
        let found = blamed(&report, steady.port()).len();
        assert_eq!(found, SOCKETS, "{:?}", report.warnings);
        for site in report.on_port(port) {
            let function = site.blame.as_ref().map(|blame| blame.function.clone());
            *told.entry(function).or_insert(0_usize) += 1;
        }
    }
    eprintln!("12 looks, and findings of the program that went meanwhile: {told:?}");
    for function in told.keys().flatten() {
        let own = [PASSING, "main"].contains(&function.as_str());
        assert!(own || function.contains("sleep"), "{told:?}");
    }
}

/// Inside of a pid namespace, where a pid can be chosen, two programs take turns with one pid.
#[test]
fn a_pid_that_is_another_programs_by_now() {
    let name = "a_pid_that_is_another_programs_by_now";
    if !skip::require_root(name) || !skip::require_program(name, "gcc") {
        return;
    }
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        return skip::skip(name, "the kernel lets nobody choose a pid");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let programs = [(FIRST, 100), (SECOND, 5000)];
    let programs = programs.map(|(keep, lines)| keeper::compiled(folder.path(), keep, lines));
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-eu", "-c", TURNS])
        .arg(paths::sockleak())
        .args(&programs)
        .current_dir(folder.path());
    let finished = sockleak::finish(&mut command, Duration::from_mins(1));
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("read a result");
    let report = Report::parse(&read("report"));
    let mut told = BTreeMap::new();
    for (own, of) in [(FIRST, "first"), (SECOND, "second")] {
        for port in read(of)
            .lines()
            .filter_map(|line| line.strip_prefix("stuck "))
        {
            for function in blamed(&report, port.parse().expect("a port")) {
                assert!(
                    function.is_none_or(|function| function == own),
                    "{function:?} for a socket of {own}"
                );
                *told
                    .entry((of, function.map(str::to_owned)))
                    .or_insert(0_usize) += 1;
            }
        }
    }
    eprintln!("two programs took turns with one pid: {told:?}");
    let named = told.iter().filter(|((_, function), _)| function.is_some());
    let named: usize = named.map(|(_, count)| count).sum();
    assert!(named > 0, "{told:?}\n{}", read("said"));
}

/// Arguments: the tracer, and the two programs.
const TURNS: &str = r#"
"$0" watch -v --json --min-age 100ms --sockets-per-site 100000 > report 2> said &
tracer=$!
until grep -q bootstrap: said; do sleep 0.05; done
pid=1000
turn() {
    while :; do
        echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
        "$1" 5 "$2" >> "$3" &
        [ $! != $pid ] || break
        # A thread of the tracer took it in between, and may keep it.
        kill -KILL $!
        wait $! || true
        pid=$((pid + 100))
    done
    wait $! || true
}
for life in 1 20 40 60 80 100 120 140 160 180 200 220 240 260 280 1500; do
    turn "$1" $life first
    turn "$2" $life second
done
sleep 0.5
kill -TERM $tracer
wait $tracer
"#;
