//! Live reports obey the published schema.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde_json::Value;
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, paths, skip, sockleak, wait};

#[test]
fn live_reports_obey_the_schema() {
    if !skip::require_root("live_reports_obey_the_schema") {
        return;
    }
    let tracer = Running::watch(["--json", "--min-age", "1s", "--duration", "60s"]);
    let names = [
        "c-eof-ignored",
        "c-never-accepted",
        "c-hidden-closed-reset",
        "c-fd-in-flight",
    ];
    let rigs: Vec<_> = names
        .iter()
        .map(|name| Rig::leaking(&manifest::entry(name)))
        .collect();
    wait::outlive_one_second();
    let snapshot = sockleak::run(["snapshot", "--json", "--min-age", "1s"]);
    let watched = tracer.stop();
    assert_eq!(
        (snapshot.code(), watched.code()),
        (0, 0),
        "{}{}",
        snapshot.stderr,
        watched.stderr
    );
    obeys("snapshot", &snapshot.stdout);
    obeys("watch", &watched.stdout);
    drop(rigs);
}

fn obeys(whose: &str, report: &str) {
    let path = paths::workspace().join("docs/report.schema.json");
    let schema = std::fs::read_to_string(path).expect("read the schema");
    let schema: Value = serde_json::from_str(&schema).expect("parse the schema");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    let report: Value = serde_json::from_str(report).expect("one JSON document");
    let wrong: Vec<_> = validator
        .iter_errors(&report)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(wrong.is_empty(), "{whose}: {wrong:#?}");
}
