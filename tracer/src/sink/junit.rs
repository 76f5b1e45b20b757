//! The findings of a `run` as `JUnit` XML: a test case for each site and one for the whole, so that a CI system
//! shows leaks beside the tests. Form and escaping are quick-junit's.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::paths::Root;
use crate::model::outcome::{Checked, Fate, Finding, Outcome};
use crate::model::untrusted::Untrusted;

const SUITE: &str = "sockleak";

pub fn write(out: &mut dyn io::Write, outcome: &Outcome, root: &Root) -> io::Result<()> {
    let mut suite = TestSuite::new(SUITE);
    suite.set_time(seconds(outcome));
    suite.add_test_case(whole(outcome));
    for finding in &outcome.findings {
        suite.add_test_case(case(finding, root));
    }
    if !outcome.notes.is_empty() {
        suite.set_system_out(shown(&outcome.notes.join("\n")));
    }
    let mut report = Report::new(SUITE);
    report.set_time(seconds(outcome));
    report.add_test_suite(suite);
    let text = report.to_string().map_err(io::Error::other)?;
    out.write_all(without_total_of_skipped(&text).as_bytes())?;
    out.flush()
}

/// quick-junit writes one attribute that no XSD of Jenkins knows: how many tests are skipped in all suites. It
/// stands in the first element, before any text that is not ours.
fn without_total_of_skipped(text: &str) -> String {
    let Some((head, rest)) = text.split_once(" skipped=\"") else {
        return text.to_owned();
    };
    let rest = rest.split_once('"').map_or(rest, |(_, rest)| rest);
    format!("{head}{rest}")
}

fn seconds(outcome: &Outcome) -> Duration {
    Duration::try_from_secs_f64(outcome.seconds).unwrap_or_default()
}

/// Did the command leak at all?
fn whole(outcome: &Outcome) -> TestCase {
    let status = match &outcome.checked {
        Checked::Not { why } => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(format!("NOT CHECKED: {}", shown(why)));
            skipped
        }
        _ if outcome.failing().next().is_some() => {
            let sockets: u64 = outcome.failing().map(|finding| finding.site.count).sum();
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_type("leak");
            failed.set_message(format!("{sockets} sockets leaked"));
            failed
        }
        Checked::InPart => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Error);
            failed.set_type("inconclusive");
            failed.set_message("events were lost, so nothing says that there is no leak");
            failed
        }
        Checked::Whole => TestCaseStatus::success(),
    };
    let name = format!("no socket leaks from `{}`", shown(&outcome.command));
    let mut case = TestCase::new(name, status);
    case.set_classname(SUITE);
    case.set_time(seconds(outcome));
    case
}

fn case(finding: &Finding, root: &Root) -> TestCase {
    let site = &finding.site;
    let text = super::plain::lines(finding, root).join("\n");
    let status = match &finding.fate {
        Fate::Fails => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_type(site.verdict.name());
            failed.set_message(shown(&site.summary));
            failed.set_description(text.clone());
            failed
        }
        Fate::Passes(_) => TestCaseStatus::success(),
    };
    let place = site.blame.as_ref().map(|blame| blame.function.to_string());
    let name = format!(
        "{} in {}",
        site.verdict,
        place.unwrap_or_else(|| "an unknown place".to_owned())
    );
    let mut case = TestCase::new(name, status);
    let process = site.process.as_ref();
    let program = process.map_or_else(|| "unknown".to_owned(), |process| process.comm.to_string());
    case.set_classname(format!("{SUITE}.{program}"));
    if finding.fate != Fate::Fails {
        case.set_system_out(text);
    }
    case
}

fn shown(text: &str) -> String {
    Untrusted::new(text).to_string()
}
