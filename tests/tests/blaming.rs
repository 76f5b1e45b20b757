//! Whom a report blames when the user says whom not to, and the stacks behind it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;
use tests::report::Site;
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, skip, sockleak, wait};

const LIMIT: Duration = Duration::from_mins(1);
const SPARED: &str = "handle_client";

fn blamed(site: &Site) -> &str {
    site.blame
        .as_ref()
        .expect("somebody to blame")
        .function
        .as_str()
}

/// Live and in a replay; a recording made without the option obeys it too.
#[test]
fn a_function_the_user_names_is_not_blamed() {
    if !skip::require_root("a_function_the_user_names_is_not_blamed") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (recording, report) = (path("run.rec"), path("report.json"));
    let mut args = vec![
        "--min-age",
        "1s",
        "--duration",
        "120s",
        "--record",
        &recording,
    ];
    args.extend(["--not-blame", SPARED, "--json", "--output", &report]);
    let tracer = Running::watch(args);
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    // The line that tells of the finding while the run goes on.
    let told = wait::poll_for(LIMIT, || {
        let lines = tracer.stderr().so_far();
        lines
            .into_iter()
            .find(|line| line.contains("serve_connection"))
    });
    let told = told.expect("the finding, as it is told");
    assert!(
        told.contains("eof-ignored") && !told.contains(SPARED),
        "{told}"
    );
    let finished = tracer.stop();
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let text = std::fs::read_to_string(&report).expect("read the report");
    let live = tests::report::Report::parse(&text);
    assert_eq!(blamed(live.on_port(rig.port)[0]), "serve_connection");

    let stacks_file = path("folded");
    let replay = |more: &[&str]| {
        let fixed = ["replay", &recording, "--json", "--folded", &stacks_file];
        sockleak::run(fixed.iter().chain(more)).report()
    };
    let again = replay(&[]);
    assert!(blamed(again.on_port(rig.port)[0]).starts_with(SPARED));
    let stacks = std::fs::read_to_string(&stacks_file).expect("read the stacks");
    let counted = |line: &str| {
        let (_, count) = line.rsplit_once(' ').expect("a count");
        count.parse::<usize>().expect("a number")
    };
    assert_eq!(stacks.lines().count(), again.sites.len());
    let all: usize = again.sites.iter().map(|site| site.count).sum();
    assert_eq!(stacks.lines().map(counted).sum::<usize>(), all);
    let of_rig = stacks
        .lines()
        .find(|line| line.contains(&format!(";main;serve_connection;{SPARED}")));
    let of_rig = of_rig.expect("the stack of the rig, outermost first");
    assert_eq!(counted(of_rig), rig.entry.count);

    let sparing = replay(&["--not-blame", SPARED, "--not-blame", "serve_connection"]);
    assert_eq!(blamed(sparing.on_port(rig.port)[0]), "main");
}

#[test]
fn stacks_that_cannot_be_written_end_the_run_before_it_begins() {
    if !skip::require_root("stacks_that_cannot_be_written_end_the_run_before_it_begins") {
        return;
    }
    let missing = Path::new("/nowhere/folded");
    let args = [Path::new("snapshot"), Path::new("--folded"), missing];
    sockleak::run(args).said(125, &["/nowhere/folded"]);
    let full = [
        Path::new("snapshot"),
        Path::new("--folded"),
        Path::new("/dev/full"),
    ];
    let _rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    wait::outlive_one_second();
    let full = full
        .into_iter()
        .chain([Path::new("--min-age"), Path::new("500ms")]);
    sockleak::run(full).said(125, &["/dev/full"]);
}
