//! The published schema against what is really written.

use serde_json::{Value, json};

use crate::model::report::{Emitter, EventListeners, Listeners};
use crate::sink::samples;

const SCHEMA: &str = include_str!("../../../../docs/report.schema.json");

fn accepts(report: &Value) -> bool {
    let validator = jsonschema::draft202012::new(&serde_json::from_str(SCHEMA).unwrap());
    validator.unwrap().is_valid(report)
}

fn sample() -> Value {
    serde_json::to_value(samples::eof_ignored()).unwrap()
}

#[test]
fn every_sample_obeys_the_schema() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    for (name, report) in samples::all() {
        let value = serde_json::to_value(&report).unwrap();
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

/// Each entry breaks one promise of the contract.
#[test]
fn broken_reports_are_rejected() {
    assert!(accepts(&sample()));
    for (pointer, bad) in [
        ("/schema", json!("sockleak.report/2")),
        ("/sites/0/verdict", json!("eof_ignored")),
        ("/sites/0/verdict", json!("no-such-verdict")),
        ("/sites/0/confidence", json!("certain")),
        ("/sites/0/severity", json!(null)),
        ("/sites/0/direction", json!("listening")),
        ("/sites/0/local", json!("10.0.0.5")),
        ("/sites/0/local", json!("2001:db8::1:443")),
        ("/sites/0/peers/0", json!("10.0.0.9:1")),
        ("/sites/0/first_seen", json!("2026-03-01 13:00:00")),
        ("/sites/0/sockets/0/cookie", json!("1f")),
        ("/sites/0/sockets/0/cookie", json!(31)),
        ("/sites/0/sockets/0/state", json!("CLOSE_WAIT")),
        ("/sites/0/fingerprint", json!("666cadcbf2365527")),
        ("/sites/0/ports", json!(["80"])),
        ("/sites/0/over", json!({"ended": "2026-03-01T13:00:00Z"})),
        ("/sites/0/stacks/opened/0/tier", json!("mine")),
        ("/sites/0/oldest_seconds", json!(-1)),
        ("/sites/0/stacks/holders", json!(null)),
        ("/sites/0/listeners", json!({"events": []})),
        ("/sites/0/runs", json!({"appeared": 0, "of": 2})),
        ("/window/exit_age_seconds", json!("0s")),
        ("/hooks/0/status", json!("degraded")),
        ("/window/complete", json!("yes")),
    ] {
        let mut report = sample();
        *report.pointer_mut(pointer).unwrap() = bad.clone();
        assert!(!accepts(&report), "{pointer} = {bad}");
    }
}

#[test]
fn every_field_of_the_contract_is_required() {
    for (object, field) in [
        ("", "warnings"),
        ("/sites/0", "blame"),
        ("/sites/0", "growth_per_minute"),
        ("/sites/0/stacks", "eof"),
        ("/sites/0/stacks/opened/0", "build_id"),
        ("/sites/0/sockets/0", "inode"),
        ("/window/events", "lost"),
        ("/totals", "hidden"),
    ] {
        let mut report = sample();
        let target = report.pointer_mut(object).unwrap().as_object_mut().unwrap();
        assert!(target.remove(field).is_some(), "{object}/{field}");
        assert!(!accepts(&report), "{object}/{field} is not required");
    }
}

#[test]
fn listeners_obey_the_schema() {
    let mut report = samples::eof_ignored();
    let site = &mut report.sites[0];
    site.listeners = Some(Listeners {
        allow_half_open: Some(true),
        end_is_heard: Some(false),
        events: vec![EventListeners {
            event: "data".to_owned(),
            of: Emitter::Socket,
            functions: site.blame.clone().into_iter().collect(),
            more: false,
        }],
        blamed: Some("data".to_owned()),
        unknown: None,
    });
    let mut value = serde_json::to_value(&report).unwrap();
    assert!(accepts(&value));
    let event = value.pointer_mut("/sites/0/listeners/events/0/event");
    *event.unwrap() = json!("whatever");
    assert!(!accepts(&value));
}

#[test]
fn a_field_of_a_later_version_is_ignored() {
    let mut report = sample();
    for pointer in [
        "",
        "/sites/0",
        "/sites/0/blame",
        "/sites/0/sockets/0",
        "/hooks/0",
    ] {
        let target = report
            .pointer_mut(pointer)
            .unwrap()
            .as_object_mut()
            .unwrap();
        target.insert("added_later".to_owned(), json!({"any": ["thing"]}));
    }
    assert!(accepts(&report));
    assert!(serde_json::from_value::<crate::model::report::Report>(report).is_ok());
}
