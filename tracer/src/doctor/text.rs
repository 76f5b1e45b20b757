//! The diagnosis for a person: what is wrong first, then every check, aligned.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::{Check, Diagnosis, Standing, Verdict};
use crate::model::untrusted::Escaped;

const PLAIN: Style = Style::new();
const GOOD: Style = AnsiColor::Green.on_default();
const POOR: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default();
/// A line of prose longer than this is hard to read.
const WIDTH: usize = 92;
/// Where the details of a check begin.
const INDENT: usize = 15;

pub(super) fn write(it: &Diagnosis, color: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut page = Page { color, out };
    let (style, verdict) = match it.verdict {
        Verdict::Ready => (GOOD, "ready: everything works here"),
        Verdict::Limited => (
            POOR,
            "works here, with limits: see what is degraded, missing or unavailable",
        ),
        Verdict::Unusable => (BAD, "cannot trace here"),
    };
    let user = if it.root { "as root" } else { "not as root" };
    let version = &it.tool.version;
    let headline = format!(
        "sockleak {version}, Linux {} {}, {user}",
        it.kernel, it.arch
    );
    page.line(PLAIN, &headline)?;
    page.line(style, verdict)?;
    if let Some(problem) = &it.problem {
        page.paragraph("  ", &problem.what)?;
        page.paragraph("  likely cause: ", &problem.cause)?;
        page.paragraph("  what to do:   ", &problem.fix)?;
    }
    for (title, checks) in it.sections() {
        if checks.is_empty() {
            continue;
        }
        page.line(PLAIN, "")?;
        page.line(Style::new().bold(), title)?;
        for (nth, check) in checks.iter().enumerate() {
            page.check(check)?;
            // What holds for several in a row is said once, after the last.
            let next = checks.get(nth + 1);
            if !next.is_some_and(|next| next.reason == check.reason && next.fix == check.fix) {
                page.details(check)?;
            }
        }
    }
    Ok(())
}

struct Page<'a> {
    color: bool,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn line(&mut self, style: Style, text: &str) -> io::Result<()> {
        let style = if self.color { style } else { PLAIN };
        writeln!(self.out, "{style}{}{style:#}", Escaped(text))
    }

    fn check(&mut self, check: &Check) -> io::Result<()> {
        let style = match check.status {
            Standing::Works | Standing::Attached => GOOD,
            Standing::Degraded | Standing::Missing => POOR,
            Standing::Unavailable => BAD,
            Standing::Untested => Style::new().dimmed(),
        };
        let style = if self.color { style } else { PLAIN };
        let status = check.status.name();
        let kind = check
            .kind
            .map(|kind| format!("{kind:<12}"))
            .unwrap_or_default();
        let name = Escaped(&check.name).to_string();
        let line = if check.needs.is_empty() {
            name
        } else {
            format!("{name:<44}{}", check.needs.join(" "))
        };
        writeln!(self.out, "  {style}{status:<13}{style:#}{kind}{line}")
    }

    fn details(&mut self, check: &Check) -> io::Result<()> {
        let indent = " ".repeat(INDENT);
        if let Some(reason) = &check.reason {
            self.paragraph(&indent, reason)?;
        }
        if let Some(fix) = &check.fix {
            self.paragraph(&format!("{indent}fix: "), fix)?;
        }
        Ok(())
    }

    /// `lead` stands before the first line; the others begin below its end.
    fn paragraph(&mut self, lead: &str, text: &str) -> io::Result<()> {
        let text = Escaped(text).to_string();
        let hang = " ".repeat(lead.len());
        let options = textwrap::Options::new(WIDTH)
            .initial_indent(lead)
            .subsequent_indent(&hang)
            .break_words(false)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        for line in textwrap::wrap(&text, options) {
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}
