//! The findings of a `run` as SARIF 2.1.0, for code scanning: a result where the blamed code is in the
//! repository, a note of the run where it is not.

mod document;

use std::io;

use self::document::{
    CodeFlow, Document, Driver, Frame, Invocation, Level, Location, Log, Message, Notification,
    Result, Rule, Run, Stack, ThreadFlow, Tool,
};
use super::paths::{Place, Root};
use super::plain;
use crate::model::outcome::{Checked, Fate, Finding, Outcome, Pass};
use crate::model::report::Site;
use crate::model::stack;
use crate::model::untrusted::Untrusted;
use crate::model::verdict::{Severity, Verdict};

/// Ours, beside the hash of the line that the uploader adds under a key of its own.
const FINGERPRINT: &str = "sockleakFingerprint/v1";

pub fn write(
    out: &mut dyn io::Write,
    outcome: &Outcome,
    version: &str,
    root: &Root,
) -> io::Result<()> {
    let (placed, elsewhere): (Vec<_>, Vec<_>) = outcome
        .findings
        .iter()
        .map(|finding| (finding, root.blamed(&finding.site)))
        .partition(|(_, place)| place.is_some());
    let results = placed
        .into_iter()
        .filter_map(|(finding, place)| Some(result(finding, &place?, root)))
        .collect();
    let unplaced = elsewhere.into_iter().map(|(finding, _)| unplaced(finding));
    let notes = outcome
        .notes
        .iter()
        .map(|note| notification(Level::Note, note));
    let run = Run {
        tool: Tool {
            driver: Driver {
                name: "sockleak",
                version,
                semantic_version: version,
                information_uri: "https://github.com/sockleak/sockleak",
                rules: Verdict::ALL.into_iter().map(rule).collect(),
            },
        },
        invocations: vec![Invocation {
            execution_successful: outcome.checked == Checked::Whole,
            tool_execution_notifications: unchecked(outcome)
                .into_iter()
                .chain(unplaced)
                .chain(notes)
                .collect(),
        }],
        results,
        column_kind: "unicodeCodePoints",
    };
    serde_json::to_writer_pretty(&mut *out, &Document::of(Log { runs: vec![run] }))?;
    out.write_all(b"\n")?;
    out.flush()
}

fn rule(verdict: Verdict) -> Rule {
    Rule {
        id: verdict.name(),
        short_description: Message::new(verdict.title()),
    }
}

fn result(finding: &Finding, place: &Place, root: &Root) -> Result {
    let site = &finding.site;
    let suppressed = matches!(
        finding.fate,
        Fate::Passes(Pass::Suppressed { .. } | Pass::Known { .. })
    );
    let stack = plain::stack(site).map(|frames| Stack {
        message: Message::new("where the sockets were used, innermost call first"),
        frames: frames
            .iter()
            .map(|frame| self::frame(frame, root))
            .collect(),
    });
    Result {
        rule_id: site.verdict.name(),
        level: level(finding),
        message: Message::new(shown(&text(site))),
        locations: vec![Location::of(place, None)],
        code_flows: code_flow(site, root).into_iter().collect(),
        stacks: stack.into_iter().collect(),
        partial_fingerprints: [(FINGERPRINT, site.fingerprint.clone())].into(),
        suppressions: if suppressed {
            vec![document::Suppression::external(&finding.fate)]
        } else {
            Vec::new()
        },
    }
}

fn text(site: &Site) -> String {
    let mut text = site.summary.clone();
    for fact in &site.evidence {
        text.push_str("\n- ");
        text.push_str(fact);
    }
    text.push('\n');
    text.push_str(&site.advice);
    text
}

fn level(finding: &Finding) -> Level {
    match (&finding.fate, finding.site.severity) {
        (Fate::Fails, _) => Level::Error,
        (Fate::Passes(_), Severity::Leak | Severity::Suspect) => Level::Warning,
        (Fate::Passes(_), Severity::Info) => Level::Note,
    }
}

/// From the outermost call that the repository holds to the one that used the socket.
fn code_flow(site: &Site, root: &Root) -> Option<CodeFlow> {
    let frames = plain::stack(site)?;
    let placed = frames.iter().rev().filter_map(|frame| {
        let place = place(frame, root)?;
        Some(document::FlowLocation {
            location: Location::of(&place, Some(Message::new(plain::place(frame, root)))),
        })
    });
    let locations: Vec<_> = placed.collect();
    (!locations.is_empty()).then(|| CodeFlow {
        thread_flows: vec![ThreadFlow { locations }],
    })
}

fn frame(frame: &stack::Frame, root: &Root) -> Frame {
    let message = Message::new(plain::place(frame, root));
    let location = match place(frame, root) {
        Some(place) => Location::of(&place, Some(message)),
        None => Location::only(message),
    };
    Frame {
        location,
        module: frame.module.as_deref().map(shown),
    }
}

fn place(frame: &stack::Frame, root: &Root) -> Option<Place> {
    Some(Place {
        file: root.relative(frame.file.as_deref()?)?,
        line: frame.line.filter(|line| *line > 0)?,
    })
}

fn unplaced(finding: &Finding) -> Notification {
    let site = &finding.site;
    let level = level(finding);
    let blamed = site.blame.as_ref().map(|blame| blame.function.to_string());
    let blamed = blamed.unwrap_or_else(|| "unknown code".to_owned());
    let text = format!(
        "{} in {blamed}, in no file of the repository: {}",
        site.verdict, site.summary
    );
    notification(level, &text)
}

fn unchecked(outcome: &Outcome) -> Option<Notification> {
    match &outcome.checked {
        Checked::Whole => None,
        Checked::InPart => Some(notification(
            Level::Error,
            "inconclusive: events were lost, so nothing says that there is no leak",
        )),
        Checked::Not { why } => Some(notification(Level::Error, &format!("NOT CHECKED: {why}"))),
    }
}

fn notification(level: Level, text: &str) -> Notification {
    Notification {
        level,
        message: Message::new(shown(text)),
    }
}

/// Sentences keep their lines; what a process chose cannot add any.
fn shown(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| Untrusted::new(line).to_string())
        .collect();
    lines.join("\n")
}
