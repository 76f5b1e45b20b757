//! The one report that a `run` writes: of all its runs, as they are judged; and of none, where nothing could be traced.
//! Its findings are those of the outcome, each once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::outcome::Outcome;
use crate::model::report::{EventCounts, Host, Report, SchemaId, Tool, Totals, Window};

/// Everything but the findings is of the last run, and counts are of all.
pub(super) fn report(reports: &[&Report], outcome: &Outcome) -> Option<Report> {
    let (last, earlier) = reports.split_last()?;
    let mut all = Report::clone(last);
    for report in earlier {
        all.window.start = all.window.start.min(report.window.start);
        all.window.complete &= report.window.complete;
        all.window.events = sum(all.window.events, report.window.events);
        all.totals = most(all.totals, report.totals);
        for warning in &report.warnings {
            if !all.warnings.contains(warning) {
                all.warnings.push(warning.clone());
            }
        }
    }
    let sites = outcome.findings.iter().map(|finding| finding.site.clone());
    all.sites = sites.collect();
    all.totals.suppressed = outcome.suppressed() as u64;
    Some(all)
}

/// It says no more than that there is nothing to say.
pub(super) fn of_nothing(min_age: Duration, outcome: &Outcome) -> Report {
    let end = Timestamp::now();
    let lasted = SignedDuration::try_from_secs_f64(outcome.seconds).unwrap_or_default();
    let kernel = rustix::system::uname();
    Report {
        schema: SchemaId::V1,
        tool: Tool {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            bpf_object_sha256: None,
        },
        host: Host {
            kernel: kernel.release().to_string_lossy().into_owned(),
            boot_id: None,
        },
        hooks: Vec::new(),
        window: Window {
            start: end.saturating_sub(lasted).unwrap_or(end),
            end,
            events: EventCounts::default(),
            complete: false,
            min_age_seconds: Some(min_age.as_secs_f64()),
            exit_age_seconds: None,
        },
        totals: Totals::default(),
        sites: Vec::new(),
        about_to_be_stuck: Vec::new(),
        warnings: Vec::new(),
    }
}

fn sum(one: EventCounts, other: EventCounts) -> EventCounts {
    EventCounts {
        seen: one.seen + other.seen,
        submitted: one.submitted + other.submitted,
        received: one.received + other.received,
        lost: one.lost + other.lost,
    }
}

/// Of the run that had most, as the count of a finding is.
fn most(one: Totals, other: Totals) -> Totals {
    Totals {
        close_wait: one.close_wait.max(other.close_wait),
        stuck: one.stuck.max(other.stuck),
        unaccepted: one.unaccepted.max(other.unaccepted),
        hidden: one.hidden.max(other.hidden),
        suppressed: one.suppressed.max(other.suppressed),
        undecided: one.undecided.max(other.undecided),
        unjudged: one.unjudged.max(other.unjudged),
    }
}
