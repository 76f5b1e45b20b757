//! A recording gives the same findings as the live run it was made from, to anybody it is given.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tests::privilege::Stage;
use tests::report::{Blame, Report};
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, skip, sockleak, wait};

const LIMIT: Duration = Duration::from_secs(20);
const RIGS: [&str; 4] = [
    "c-eof-ignored",
    "c-lost-reference",
    "c-never-read",
    "c-hidden-closed-reset",
];

#[test]
fn replay_repeats_the_live_findings() {
    if !skip::require_root("replay_repeats_the_live_findings") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let file = folder.path().join("run.sockleak");
    let live = record(&file);
    let mode = std::fs::metadata(&file)
        .expect("the recording")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "a recording is for its owner alone");

    let stage = Stage::new();
    let copy = stage.hand_over(&file);
    let mut replay = stage.as_nobody();
    replay
        .arg("replay")
        .arg(&copy)
        .args(["--json", "--min-age", "1s"]);
    let again = sockleak::finish(&mut replay, LIMIT).report();
    assert_eq!(
        findings(&again),
        findings(&live),
        "warnings: {:?}",
        again.warnings
    );
    assert_eq!(again.window.events.received, live.window.events.received);
    assert_eq!(again.window.complete, live.window.complete);
    assert_eq!(
        again.hooks.len(),
        live.hooks.len(),
        "what was attached then"
    );
}

/// The same recording gives the same bytes each time.
#[test]
fn replay_is_deterministic() {
    if !skip::require_root("replay_is_deterministic") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the recording");
    let file = folder.path().join("run.sockleak");
    record(&file);
    let replay = || {
        let finished = sockleak::run([Path::new("replay"), &file, Path::new("--json")]);
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        finished.stdout
    };
    assert_eq!(replay(), replay());
}

fn record(file: &Path) -> Report {
    let entries = RIGS.map(manifest::entry);
    for entry in &entries {
        tests::compile::command(entry);
    }
    let name = file.to_str().expect("a name in UTF-8");
    let tracer = Running::watch(["--json", "--min-age", "1s", "--record", name]);
    let rigs: Vec<_> = entries.iter().map(Rig::leaking).collect();
    wait::outlive_one_second();
    let report = tracer.stop().report();
    for rig in &rigs {
        assert_eq!(
            report.on_port(rig.port).len(),
            1,
            "{}: {:#?}",
            rig.entry.name,
            report.sites
        );
    }
    report
}

type Finding = (String, String, usize, Option<String>, Option<Blame>);

fn findings(report: &Report) -> Vec<Finding> {
    let finding = |site: &tests::report::Site| {
        let (id, verdict) = (site.id.clone(), site.verdict.clone());
        (
            id,
            verdict,
            site.count,
            site.direction.clone(),
            site.blame.clone(),
        )
    };
    report.sites.iter().map(finding).collect()
}
