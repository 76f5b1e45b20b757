//! What goes wrong is said, with the exit code of the contract, and nothing stays behind in the
//! kernel.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;
use tests::privilege::Stage;
use tests::sockleak::Running;
use tests::{bpf, manifest, rig::Rig, skip, sockleak, wait};

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: [&str; 4] = ["watch", "--json", "--duration", "500ms"];

#[test]
fn without_root_it_names_what_is_missing() {
    if !skip::require_root("without_root_it_names_what_is_missing") {
        return;
    }
    let stage = Stage::new();
    for subcommand in ["watch", "snapshot", "trace"] {
        let finished = sockleak::finish(stage.as_nobody().args([subcommand, "--json"]), LIMIT);
        finished.said(125, &["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(finished.stdout, "", "nothing that looks like a report");
    }
}

/// `CAP_SYS_ADMIN` stands in for the newer capabilities, so it has to go too.
#[test]
fn without_one_capability_it_names_that_one() {
    if !skip::require_root("without_one_capability_it_names_that_one") {
        return;
    }
    let stage = Stage::new();
    for (dropped, missing, present) in [
        ("-bpf,-sys_admin", "CAP_BPF", "CAP_PERFMON"),
        ("-perfmon,-sys_admin", "CAP_PERFMON", "CAP_BPF"),
    ] {
        let finished = sockleak::finish(stage.without(dropped).args(SHORT), LIMIT);
        finished.said(125, &[missing]);
        let blames_both = format!("missing {present}");
        assert!(
            !finished.stderr.contains(&blames_both),
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn a_pid_that_does_not_exist_is_refused() {
    if !skip::require_root("a_pid_that_does_not_exist_is_refused") {
        return;
    }
    let finished = sockleak::run(SHORT.iter().chain(&["--pid", "999999999"]));
    assert!([2, 125].contains(&finished.code()), "{}", finished.stderr);
    finished.said(finished.code(), &["999999999"]);
}

#[test]
fn wrong_usage_is_code_2() {
    for args in [
        &["--no-such-option"][..],
        &["no-such-command"],
        &["watch", "--duration", "soon"],
        &["watch", "--port", "70000"],
        &["watch", "--pid", "me"],
        &["watch", "--accept-hook", "maybe"],
        &["replay"],
        &["run"],
    ] {
        let finished = sockleak::run(args);
        assert_eq!(finished.code(), 2, "{args:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{args:?}: complaints belong on stderr");
        assert!(!finished.stderr.is_empty(), "{args:?}: says what is wrong");
    }
}

#[test]
fn a_damaged_recording_is_refused() {
    if !skip::require_root("a_damaged_recording_is_refused") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let good = folder.path().join("good");
    let name = good.to_str().expect("a name in UTF-8");
    let tracer = Running::watch(["--json", "--min-age", "1s", "--record", name]);
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    assert_eq!(tracer.stop().code(), 0);
    drop(rig);
    let bytes = std::fs::read(&good).expect("read the recording");
    let damaged = folder.path().join("damaged-one");
    let replay = |content: &[u8]| {
        std::fs::write(&damaged, content).expect("write a damaged recording");
        sockleak::run([Path::new("replay"), &damaged, Path::new("--json")])
    };
    let cut = &bytes[..bytes.len() - 1];
    for content in [&b""[..], b"not a recording at all\n", &bytes[..20], cut] {
        replay(content).said(125, &["recording", "damaged-one"]);
    }
    // Damage anywhere is found or harmless; it never becomes a crash.
    for at in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0xff;
        let finished = replay(&flipped);
        assert!(
            [0, 125].contains(&finished.code()),
            "byte {at}: {}",
            finished.stderr
        );
        assert!(
            !finished.stderr.contains("panicked"),
            "byte {at}: {}",
            finished.stderr
        );
    }
    sockleak::run(["replay", "/no/such/file"]).said(125, &["/no/such/file"]);
}

/// The last entries of a killed run are missing; a replay must not pass for the whole story.
#[test]
fn a_recording_of_a_killed_run_is_not_complete() {
    if !skip::require_root("a_recording_of_a_killed_run_is_not_complete") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("cut-off");
    let name = file.to_str().expect("a name in UTF-8");
    let mut tracer = Running::watch(["--json", "--min-age", "1s", "--record", name]);
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    tracer.signal(rustix::process::Signal::KILL);
    tracer.wait(LIMIT);
    drop(rig);
    let finished = sockleak::run(["replay", name, "--json"]);
    if finished.code() == 0 {
        assert!(!finished.report().window.complete, "{}", finished.stdout);
    } else {
        finished.said(125, &["recording"]);
    }
}

#[test]
fn nothing_stays_attached() {
    let name = "nothing_stays_attached";
    if !skip::require_root(name) || !skip::require_program(name, "bpftool") {
        return;
    }
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::KILL] {
        let mut tracer = Running::watch(["--json", "--duration", "60s"]);
        let held = bpf::held_by(tracer.pid());
        assert!(!held.links.is_empty() && !held.maps.is_empty(), "{held:?}");
        tracer.signal(signal);
        tracer.wait(LIMIT);
        wait::wait_for("programs, maps and links to go", LIMIT, || {
            let gone = |kind, ids: &std::collections::BTreeSet<u32>| {
                ids.iter().all(|id| !bpf::exists(kind, *id))
            };
            gone("prog", &held.programs) && gone("map", &held.maps) && gone("link", &held.links)
        });
    }
}
