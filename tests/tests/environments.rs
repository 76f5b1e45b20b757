//! A first run anywhere: `doctor`, `snapshot` and `watch` where something is missing that a developer's
//! machine has. Each finds the leak and its function, or says what it cannot.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use tests::environment::Environment;
use tests::report::Report;
use tests::rig::{Rig, Start};
use tests::sockleak::{self, Running};
use tests::{manifest, privilege::Stage, skip, wait};

const LIMIT: Duration = Duration::from_mins(1);
const FUNCTION: &str = "handle_client_and_forget";

/// What all of them have in common; returns the report of the watch.
fn finds_the_leak(environment: &Environment) -> Report {
    finds_the_leak_of(environment, &[])
}

/// The leaking program is started with `prefix`.
fn finds_the_leak_of(environment: &Environment, prefix: &[&str]) -> Report {
    let doctor = sockleak::finish(&mut environment.sockleak(&["doctor"]), LIMIT);
    assert_eq!(doctor.code(), 0, "{}{}", doctor.stdout, doctor.stderr);
    assert!(doctor.stdout.contains("works here"), "{}", doctor.stdout);

    let watch = [
        "watch",
        "-v",
        "--json",
        "--min-age",
        "1s",
        "--duration",
        "8s",
    ];
    let running = Running::start(&mut environment.sockleak(&watch));
    let ready = running.stderr().after("bootstrap:", LIMIT);
    assert!(
        ready.is_some(),
        "never ready: {:?}",
        running.stderr().so_far()
    );
    let mut rig = Rig::start(
        &manifest::entry("c-eof-ignored"),
        &Start {
            prefix,
            ..Start::default()
        },
    );
    rig.drive();
    let report = running.finish(LIMIT).report();
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{report:#?}");
    let site = sites[0];
    assert_eq!(
        (site.verdict.as_str(), site.count),
        ("eof-ignored", rig.stuck)
    );
    let blame = site.blame.as_ref().expect("a function to blame");
    assert_eq!(blame.function, FUNCTION, "{site:#?}");
    let process = site.process.as_ref().expect("a process");
    assert!(
        process
            .exe
            .as_ref()
            .is_some_and(|exe| exe.contains("eof-ignored")),
        "{process:?}"
    );

    wait::outlive_one_second();
    let snapshot = ["snapshot", "--json", "--min-age", "1s"];
    let snapshot = sockleak::finish(&mut environment.sockleak(&snapshot), LIMIT).report();
    let found: usize = snapshot
        .on_port(rig.port)
        .iter()
        .map(|site| site.count)
        .sum();
    assert_eq!(found, rig.stuck, "{snapshot:#?}");
    report
}

fn says(report: &Report, words: &str) -> bool {
    let reasons = report.hooks.iter().filter_map(|hook| hook.reason.as_ref());
    report
        .warnings
        .iter()
        .chain(reasons)
        .any(|said| said.contains(words))
}

#[test]
fn without_tracefs_debugfs_and_securityfs() {
    if !skip::require_root("without_tracefs_debugfs_and_securityfs") {
        return;
    }
    let report = finds_the_leak(&Environment::without_kernel_file_systems());
    let accepts = |hook: &&tests::report::Hook| hook.name.contains("accept");
    let mut accepts = report.hooks.iter().filter(accepts);
    assert!(
        accepts.all(|hook| hook.status != "unavailable"),
        "{:#?}",
        report.hooks
    );
}

#[test]
fn in_a_pid_namespace_with_a_proc_of_its_own() {
    if !skip::require_root("in_a_pid_namespace_with_a_proc_of_its_own") {
        return;
    }
    let environment = Environment::in_pid_namespace();
    let report = finds_the_leak_of(&environment, &environment.prefix());
    let pids = report.sites.iter().filter_map(|site| site.process.as_ref());
    assert!(
        pids.map(|process| process.pid).all(|pid| pid < 100),
        "{:#?}",
        report.sites
    );
    assert!(
        says(&report, "processes outside of it are not seen"),
        "{:#?}",
        report.warnings
    );
}

/// The same, of a program outside: its sockets may be told of, but neither a process nor a function.
#[test]
fn outside_of_the_pid_namespace_nothing_is_named() {
    if !skip::require_root("outside_of_the_pid_namespace_nothing_is_named") {
        return;
    }
    let environment = Environment::in_pid_namespace();
    let watch = [
        "watch",
        "-v",
        "--json",
        "--min-age",
        "1s",
        "--duration",
        "6s",
    ];
    let running = Running::start(&mut environment.sockleak(&watch));
    assert!(
        running.stderr().after("bootstrap:", LIMIT).is_some(),
        "never ready"
    );
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    let report = running.finish(LIMIT).report();
    for site in report.on_port(rig.port) {
        assert!(site.process.is_none() && site.blame.is_none(), "{site:#?}");
    }
    assert!(
        says(&report, "processes outside of it are not seen"),
        "{:#?}",
        report.warnings
    );
}

#[test]
fn on_a_read_only_root() {
    if !skip::require_root("on_a_read_only_root") {
        return;
    }
    finds_the_leak(&Environment::with_read_only_root());
}

#[test]
fn without_tmp() {
    if !skip::require_root("without_tmp") {
        return;
    }
    finds_the_leak(&Environment::without_tmp());
}

#[test]
fn on_a_dumb_terminal() {
    if !skip::require_root("on_a_dumb_terminal")
        || !skip::require_program("on_a_dumb_terminal", "script")
    {
        return;
    }
    let environment = Environment::on_a_dumb_terminal();
    let watch = ["watch", "-v", "--min-age", "1s", "--duration", "8s"];
    let running = Running::start(&mut environment.sockleak(&watch));
    // Both of its streams are the terminal, which is this one.
    let ready = running.stdout().after("bootstrap:", LIMIT);
    assert!(
        ready.is_some(),
        "never ready: {:?}",
        running.stdout().so_far()
    );
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    let said = running.finish(LIMIT).stdout;
    assert!(said.contains(FUNCTION), "{said}");
    assert!(!said.contains('\x1b'), "{said:?}");
    drop(rig);
    let doctor = sockleak::finish(&mut environment.sockleak(&["doctor"]), LIMIT).stdout;
    assert!(
        doctor.contains("works here") && !doctor.contains('\x1b'),
        "{doctor:?}"
    );
}

/// With exactly what `doctor` tells such a user to do.
#[test]
fn as_a_user_with_file_capabilities() {
    let name = "as_a_user_with_file_capabilities";
    if !skip::require_root(name) || !skip::require_program(name, "setcap") {
        return;
    }
    let refused = sockleak::finish(Stage::new().as_nobody().arg("doctor"), LIMIT);
    let mut advice = refused.stdout.split_whitespace();
    let capabilities = advice.find(|word| word.starts_with("cap_") && word.contains('+'));
    let capabilities = capabilities.unwrap_or_else(|| panic!("{}", refused.stdout));
    let report = finds_the_leak(&Environment::with_file_capabilities(capabilities));
    assert!(says(&report, "CAP_SYS_ADMIN"), "{:#?}", report.warnings);
}

#[test]
fn in_64_mib_and_a_tenth_of_a_cpu() {
    let name = "in_64_mib_and_a_tenth_of_a_cpu";
    if !skip::require_root(name) {
        return;
    }
    let Some(environment) = Environment::in_small_cgroup() else {
        skip::skip(name, "no cgroup with limits of memory and CPU can be made");
        return;
    };
    finds_the_leak(&environment);
}
