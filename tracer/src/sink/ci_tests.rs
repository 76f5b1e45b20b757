//! `JUnit`, SARIF and GitHub outputs of every sample report, hostile names among them.

use super::paths::Root;
use super::{github, junit, samples, sarif};
use crate::model::outcome::{Checked, Fate, Finding, Outcome, Pass};
use crate::model::report::Report;
use crate::model::untrusted::Untrusted;

fn outcome(report: &Report) -> Outcome {
    let finding = |site: &crate::model::report::Site| Finding {
        site: site.clone(),
        fate: if site.count.is_multiple_of(2) {
            Fate::Fails
        } else {
            Fate::Passes(Pass::Suppressed {
                reason: "known\n::error::x".to_owned(),
            })
        },
    };
    Outcome {
        command: "make test\u{1b}[2J".to_owned(),
        seconds: 1.5,
        checked: Checked::Whole,
        findings: report.sites.iter().map(finding).collect(),
        notes: vec!["a note".to_owned()],
    }
}

fn hostile() -> Outcome {
    let mut report = samples::eof_ignored();
    let site = &mut report.sites[0];
    site.count = 2;
    let name = Untrusted::new("::error title=a,b::100%\r\n<b>]]>&\u{202e}@you `x`");
    if let Some(process) = &mut site.process {
        process.comm = name.clone();
    }
    if let Some(blame) = &mut site.blame {
        blame.function = name;
        blame.file = Some(Untrusted::new("/src/a b:c,d.rs"));
        blame.line = Some(3);
    }
    site.summary = "2 sockets of ::error\n::warning::y".to_owned();
    outcome(&report)
}

fn all() -> Vec<Outcome> {
    let mut all: Vec<Outcome> = samples::all()
        .iter()
        .map(|(_, report)| outcome(report))
        .collect();
    all.push(hostile());
    all
}

/// Reading it into the types of the standard and back loses nothing, so nothing is misspelt or missing.
#[test]
fn sarif_is_what_the_standard_says() {
    for outcome in all() {
        let mut out = Vec::new();
        sarif::write(&mut out, &outcome, "0.1.0", &Root::new("/src")).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let read: serde_sarif::sarif::Sarif = serde_json::from_slice(&out).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }
}

#[test]
fn sarif_knows_files_of_the_repository_only() {
    let mut out = Vec::new();
    sarif::write(&mut out, &hostile(), "0.1.0", &Root::new("/src")).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\"uri\": \"a%20b%3Ac%2Cd.rs\""), "{text}");
    let mut out = Vec::new();
    sarif::write(&mut out, &hostile(), "0.1.0", &Root::new("/elsewhere")).unwrap();
    let log: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(log["runs"][0]["results"], serde_json::json!([]));
    let notes = log["runs"][0]["invocations"][0]["toolExecutionNotifications"].to_string();
    assert!(notes.contains("in no file of the repository"), "{notes}");
}

#[test]
fn junit_has_a_case_for_each_site_and_one_for_the_whole() {
    for outcome in all() {
        let mut out = Vec::new();
        junit::write(&mut out, &outcome, &Root::new("/src")).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text.matches("<testcase ").count(),
            outcome.findings.len() + 1
        );
        let head = text.lines().nth(1).unwrap();
        assert!(
            head.starts_with("<testsuites ") && !head.contains("skipped"),
            "{head}"
        );
        assert!(!text.contains('\u{1b}') && !text.contains("<b>"), "{text}");
    }
    let mut unchecked = outcome(&samples::nothing_found());
    unchecked.checked = Checked::Not {
        why: "no BTF".to_owned(),
    };
    let mut out = Vec::new();
    junit::write(&mut out, &unchecked, &Root::default()).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("<skipped message=\"NOT CHECKED: no BTF\""),
        "{text}"
    );
}

#[test]
fn every_line_for_github_is_one_command_of_ours() {
    for outcome in all() {
        let mut out = Vec::new();
        github::write_annotations(&mut out, &outcome, &Root::new("/src")).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), outcome.findings.len(), "{text}");
        for line in text.lines() {
            let kinds = ["::error ", "::warning ", "::notice "];
            assert!(kinds.iter().any(|kind| line.starts_with(kind)), "{line}");
        }
    }
    let mut out = Vec::new();
    github::write_annotations(&mut out, &hostile(), &Root::new("/src")).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.starts_with("::error file=a b%3Ac%2Cd.rs,line=3,title=sockleak%3A eof-ignored::"),
        "{text}"
    );
}

#[test]
fn a_summary_is_text_and_ends_before_the_limit() {
    let mut many = hostile();
    let one = many.findings[0].clone();
    many.findings = vec![one; 5000];
    let text = github::summary(&many, &Root::new("/src"));
    assert!(text.len() <= 1 << 20, "{}", text.len());
    assert!(text.contains("more, which the JSON report holds"));
    let text = github::summary(&hostile(), &Root::new("/src"));
    let outside: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("    "))
        .collect();
    let outside = outside.join("\n");
    assert!(
        !outside.contains("<b>") && !outside.contains("@you"),
        "{outside}"
    );
}
