//! Each outcome, and what makes an answer wrong.

use super::*;
use crate::field::said::Stacks;

fn site(verdict: &str, confidence: &str, count: u64, function: &str) -> Site {
    Site {
        verdict: verdict.to_owned(),
        confidence: confidence.to_owned(),
        severity: "leak".to_owned(),
        summary: String::new(),
        evidence: Vec::new(),
        advice: String::new(),
        count,
        blame: Some(Frame {
            function: Some(function.to_owned()),
            ..Frame::default()
        }),
        stacks: Stacks::default(),
    }
}

fn truth() -> Truth {
    serde_json::from_value(serde_json::json!({
        "sockets": 10,
        "expect": [{"verdict": ["owner-blocked"], "function": "^work$"}],
        "innocent": "^read_request$",
    }))
    .unwrap()
}

fn outcome_of(truth: &Truth, sites: Vec<Site>) -> Class {
    let said = Said {
        sites,
        warnings: Vec::new(),
    };
    judge(truth, &said, 1).unwrap().outcome
}

#[test]
fn each_outcome_has_its_reason() {
    let truth = truth();
    let of = |site| outcome_of(&truth, vec![site]);
    assert_eq!(of(site("owner-blocked", "low", 10, "work")), Class::Right);
    assert_eq!(
        of(site("owner-blocked", "high", 10, "other")),
        Class::Verdict
    );
    assert_eq!(
        of(site("owner-blocked", "high", 10, "read_request")),
        Class::Wrong
    );
    assert_eq!(of(site("unknown", "low", 10, "work")), Class::Honest);
    assert_eq!(of(site("lost-reference", "low", 10, "work")), Class::Honest);
    assert_eq!(
        of(site("lost-reference", "medium", 10, "work")),
        Class::Wrong
    );
    assert_eq!(of(site("owner-blocked", "high", 4, "work")), Class::Wrong);
    assert_eq!(of(site("owner-blocked", "high", 8, "work")), Class::Honest);
}

#[test]
fn silence_and_a_split_cause_are_wrong() {
    let truth = truth();
    assert_eq!(outcome_of(&truth, Vec::new()), Class::Wrong);
    let halves = || site("owner-blocked", "high", 5, "work");
    assert_eq!(outcome_of(&truth, vec![halves(), halves()]), Class::Wrong);
}

#[test]
fn a_healthy_case_has_no_finding() {
    let truth: Truth = serde_json::from_value(serde_json::json!({"clean": true})).unwrap();
    assert_eq!(outcome_of(&truth, Vec::new()), Class::Right);
    let any = site("unknown", "low", 1, "work");
    assert_eq!(outcome_of(&truth, vec![any]), Class::Wrong);
}

#[test]
fn a_share_is_filled_once() {
    let truth: Truth = serde_json::from_value(serde_json::json!({
        "sockets": 20, "findings": 2,
        "expect": [{"verdict": ["owner-blocked"], "share": 4}, {"verdict": ["worker-starvation"]}],
    }))
    .unwrap();
    let sites = |blocked, starved| {
        vec![
            site("owner-blocked", "high", blocked, "f"),
            site("worker-starvation", "high", starved, "f"),
        ]
    };
    assert_eq!(outcome_of(&truth, sites(4, 16)), Class::Right);
    assert_eq!(outcome_of(&truth, sites(12, 8)), Class::Wrong);
}
