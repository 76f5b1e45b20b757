//! What GitHub Actions makes of a `run`: annotations at the lines that leak, and a summary of the job.
//! Everything a process chose is escaped for the place it stands in.

use std::fmt::Write as _;
use std::io;

use super::paths::Root;
use super::plain;
use crate::model::outcome::{Checked, Fate, Finding, Outcome};
use crate::model::untrusted::Untrusted;
use crate::model::verdict::Severity;

/// GitHub shows no more annotations of one kind in a step.
const ANNOTATIONS: usize = 10;
/// GitHub takes no longer summary.
const SUMMARY: usize = 1 << 20;

/// The commands, one a line.
pub fn write_annotations(
    out: &mut dyn io::Write,
    outcome: &Outcome,
    root: &Root,
) -> io::Result<()> {
    for kind in ["error", "warning", "notice"] {
        let of_kind = outcome
            .findings
            .iter()
            .filter(|found| self::kind(found) == kind);
        for finding in of_kind.take(ANNOTATIONS) {
            writeln!(out, "{}", annotation(kind, finding, root))?;
        }
    }
    match &outcome.checked {
        Checked::Whole => {}
        Checked::InPart => writeln!(
            out,
            "::error title=sockleak::inconclusive: events were lost, so nothing says that there is no leak"
        )?,
        Checked::Not { why } => {
            writeln!(out, "::warning title=sockleak::NOT CHECKED: {}", data(why))?;
        }
    }
    out.flush()
}

fn kind(finding: &Finding) -> &'static str {
    match (&finding.fate, finding.site.severity) {
        (Fate::Fails, _) => "error",
        (Fate::Passes(_), Severity::Leak | Severity::Suspect) => "warning",
        (Fate::Passes(_), Severity::Info) => "notice",
    }
}

fn annotation(kind: &str, finding: &Finding, root: &Root) -> String {
    let site = &finding.site;
    let place = root
        .blamed(site)
        .map(|place| format!("file={},line={},", property(&place.file), place.line));
    let title = property(&format!("sockleak: {}", site.verdict));
    let text = plain::lines(finding, root).join("\n");
    format!(
        "::{kind} {}title={title}::{}",
        place.unwrap_or_default(),
        data_lines(&text)
    )
}

/// Escaped as the runner unescapes it (actions/toolkit: core/src/command.ts).
fn data(text: &str) -> String {
    let text = Untrusted::new(text).to_string();
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// Our own line ends stay line ends.
fn data_lines(text: &str) -> String {
    text.split('\n').map(data).collect::<Vec<_>>().join("%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Markdown for `GITHUB_STEP_SUMMARY`.
pub fn summary(outcome: &Outcome, root: &Root) -> String {
    let mut text = format!("### sockleak: {}\n\n", headline(outcome));
    for (shown, finding) in outcome.findings.iter().enumerate() {
        let section = section(finding, root);
        if text.len() + section.len() + 200 > SUMMARY {
            let left = outcome.findings.len() - shown;
            // Writing into a String cannot fail.
            let _ = writeln!(text, "… and {left} more, which the JSON report holds.");
            break;
        }
        text.push_str(&section);
    }
    for note in &outcome.notes {
        if text.len() + note.len() + 100 < SUMMARY {
            let _ = writeln!(text, "- {}", markdown(note));
        }
    }
    text
}

fn headline(outcome: &Outcome) -> String {
    let failing: u64 = outcome.failing().map(|finding| finding.site.count).sum();
    match &outcome.checked {
        _ if failing > 0 => format!("{failing} sockets leaked"),
        Checked::Whole => "no socket leaked".to_owned(),
        Checked::InPart => "inconclusive, events were lost".to_owned(),
        Checked::Not { why } => format!("NOT CHECKED: {}", markdown(why)),
    }
}

fn section(finding: &Finding, root: &Root) -> String {
    let site = &finding.site;
    let place = match root.blamed(site) {
        Some(place) => format!(" at {}:{}", markdown(&place.file), place.line),
        None => String::new(),
    };
    let blamed = site
        .blame
        .as_ref()
        .map(|blame| markdown(blame.function.raw()));
    let blamed = blamed.unwrap_or_else(|| "unknown code".to_owned());
    let lines: Vec<String> = plain::lines(finding, root)
        .iter()
        .map(|line| format!("    {}", line.replace('\r', " ")))
        .collect();
    format!(
        "**{}** in {blamed}{place}\n\n{}\n\n",
        site.verdict,
        lines.join("\n")
    )
}

/// As text: no markup, no HTML, no mention.
fn markdown(text: &str) -> String {
    let mut safe = String::new();
    for letter in Untrusted::new(text).to_string().chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '@' => safe.push_str("&#64;"),
            _ if letter.is_ascii_punctuation() && letter != '/' && letter != '.' => {
                safe.push('\\');
                safe.push(letter);
            }
            _ => safe.push(letter),
        }
    }
    safe
}
