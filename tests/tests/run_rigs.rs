//! `sockleak run` on rigs: a leak fails the run with 23, its healthy twin passes. `cargo xtask run-matrix` takes
//! every rig; here one of each language and kind.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use tests::manifest::Entry;
use tests::report::Report;
use tests::rig::{Rig, Start};
use tests::{manifest, paths, side_by_side, skip};

/// Findings of this verdict are told and do not fail.
const HARMLESS: &str = "idle-pool";
/// Beyond `--min-age` of the run, and some for a busy machine.
const STUCK: Duration = Duration::from_millis(1800);

/// Each run follows its own tree of processes.
const AT_A_TIME: usize = 3;

const USUAL: [&str; 9] = [
    "c-eof-ignored-debug",
    "c-never-accepted",
    "c-hidden-closed-reset",
    "c-idle-pool",
    "cpp-lost-reference",
    "rust-eof-ignored",
    "go-eof-ignored",
    "python-eof-ignored",
    "php-eof-ignored",
];

#[test]
fn a_leaking_rig_fails_and_its_twin_passes() {
    let name = "a_leaking_rig_fails_and_its_twin_passes";
    if !skip::require_root(name) {
        return;
    }
    let only = std::env::var("SOCKLEAK_RUN_MATRIX").ok();
    let is_asked = |entry: &Entry| match &only {
        Some(only) => entry.name == *only,
        None => USUAL.contains(&entry.name.as_str()),
    };
    let rigs = manifest::load().rigs.into_iter().filter(is_asked);
    let rigs = rigs.filter(|entry| skip::require_needs(name, entry));
    side_by_side::each(rigs.collect(), AT_A_TIME, |entry| {
        for healthy in [false, true] {
            let (code, told) = ended(&entry, healthy);
            let twin = if healthy { " (healthy)" } else { "" };
            assert_eq!(
                code,
                Some(expected(&entry, healthy)),
                "{}{twin}: {told}",
                entry.name
            );
        }
    });
}

fn expected(entry: &Entry, healthy: bool) -> i32 {
    if healthy || entry.verdicts.iter().all(|verdict| verdict == HARMLESS) {
        0
    } else {
        23
    }
}

/// The exit code, and the report in short.
fn ended(entry: &Entry, healthy: bool) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().expect("a file for the report");
    let json = file.path().to_str().expect("a path").to_owned();
    let sockleak = paths::sockleak();
    let sockleak = sockleak.to_str().expect("a path").to_owned();
    let prefix = [&sockleak, "run", "--min-age", "1s", "--json", &json, "--"];
    let mut rig = Rig::start(
        entry,
        &Start {
            healthy,
            prefix: &prefix,
            ..Start::default()
        },
    );
    rig.drive();
    std::thread::sleep(STUCK);
    let code = rig.ended().and_then(|status| status.code());
    let text = std::fs::read_to_string(&json).unwrap_or_default();
    if text.is_empty() {
        return (code, "no report".to_owned());
    }
    let report = Report::parse(&text);
    let told = report.sites.iter().map(|site| {
        let function = site.blame.as_ref().map(|blame| blame.function.clone());
        format!(
            "{} {} {} {function:?}",
            site.count, site.verdict, site.severity
        )
    });
    (code, told.collect::<Vec<_>>().join("; "))
}
