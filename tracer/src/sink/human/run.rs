//! The end of a `run` for a person: what leaked, what was let pass and why, and one line that says it all.

use std::io;

use super::HumanOptions;
use super::footer;
use super::site;
use super::style::{BAD, DIM, GOOD, PLAIN, Page, WARNING};
use crate::model::outcome::{Checked, Fate, Outcome};
use crate::model::quantity::counted;
use crate::model::report::{Report, Runs};
use crate::model::untrusted::Untrusted;

/// `report` is `None` where nothing could be traced.
pub fn write_outcome(
    out: &mut dyn io::Write,
    outcome: &Outcome,
    report: Option<&Report>,
    options: &HumanOptions<'_>,
) -> io::Result<()> {
    let page = &mut Page::new(out, options.color, options.width);
    let mut keepalive_told = false;
    for finding in &outcome.findings {
        site::write(page, &finding.site, options, &mut keepalive_told)?;
        if let Fate::Passes(why) = &finding.fate {
            let text = format!("Not a failure: {}.", Untrusted::new(why.because()));
            page.paragraph(2, 2, DIM, &text)?;
        }
        if let Some(Runs { appeared, of }) = finding.site.runs {
            page.paragraph(
                2,
                2,
                DIM,
                &format!("It appeared in {appeared} of {of} runs."),
            )?;
        }
        page.blank()?;
    }
    for note in &outcome.notes {
        page.paragraph(
            0,
            2,
            WARNING,
            &format!("sockleak: {}", Untrusted::new(note.as_str())),
        )?;
    }
    let told = !outcome.findings.is_empty() || outcome.checked != Checked::Whole;
    if let Some(report) = report.filter(|_| told || options.verbose) {
        footer::write(page, report, options)?;
    }
    let (style, text) = summary(outcome);
    page.paragraph(0, 2, style, &format!("sockleak: {text}"))?;
    page.flush()
}

fn summary(outcome: &Outcome) -> (anstyle::Style, String) {
    let failing: Vec<_> = outcome.failing().collect();
    if !failing.is_empty() {
        let sockets: u64 = failing.iter().map(|finding| finding.site.count).sum();
        let places = counted(failing.len() as u64, "place");
        let text = format!("{} leaked at {places}", counted(sockets, "socket"));
        return (BAD, text);
    }
    match &outcome.checked {
        Checked::Not { why } => (
            WARNING,
            format!("NOT CHECKED for leaks: {}", Untrusted::new(why.as_str())),
        ),
        Checked::InPart => (
            BAD,
            "inconclusive: events were lost, so nothing says that there is no leak".to_owned(),
        ),
        Checked::Whole if outcome.findings.is_empty() => (GOOD, "no socket leaked".to_owned()),
        Checked::Whole => (
            PLAIN,
            format!(
                "nothing that fails; {} told above",
                counted(outcome.findings.len() as u64, "finding")
            ),
        ),
    }
}
