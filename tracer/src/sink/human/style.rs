//! Colour and line width of the human report. Everything printed passes through `Escaped` here, so
//! no sentence built from a process's words can drive the terminal.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::model::untrusted::Escaped;
use crate::model::verdict::Severity;

pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
pub(super) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

pub(super) fn severity(severity: Severity) -> Style {
    match severity {
        Severity::Leak => BAD,
        Severity::Suspect => AnsiColor::Yellow.on_default().bold(),
        Severity::Info => AnsiColor::Cyan.on_default(),
    }
}

/// Prose wider than this is hard to read, however wide the terminal is.
const WIDEST: usize = 100;
/// Narrower than this nothing sensible can be laid out; let the terminal wrap.
const NARROWEST: usize = 40;
/// Labels stand in a column of their own, so the eye finds the same fact at the same place.
pub(super) const GUTTER: usize = 12;

/// Where lines go: wraps, indents and colours them.
pub(super) struct Page<'a> {
    out: &'a mut dyn Write,
    color: bool,
    width: usize,
}

impl<'a> Page<'a> {
    pub fn new(out: &'a mut dyn Write, color: bool, width: usize) -> Self {
        Self {
            out,
            color,
            width: width.clamp(NARROWEST, WIDEST),
        }
    }

    /// Columns left of a line that starts `indent` columns in.
    pub fn room(&self, indent: usize) -> usize {
        self.width.saturating_sub(indent)
    }

    pub fn paint<'t>(&self, style: Style, text: &'t str) -> Painted<'t> {
        Painted {
            style: if self.color { style } else { PLAIN },
            text,
        }
    }

    /// One line as it is: already painted, already fitted.
    pub fn line(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    pub fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A paragraph; `hang` is the further indent of its second and later lines.
    pub fn paragraph(
        &mut self,
        indent: usize,
        hang: usize,
        style: Style,
        text: &str,
    ) -> io::Result<()> {
        for (nth, line) in self.wrap(text, indent, hang).into_iter().enumerate() {
            let indent = if nth == 0 { indent } else { indent + hang };
            writeln!(self.out, "{:indent$}{}", "", self.paint(style, &line))?;
        }
        Ok(())
    }

    /// A paragraph beside its label. An empty label continues the block above.
    pub fn labelled(&mut self, label: &str, style: Style, text: &str) -> io::Result<()> {
        self.hanging(label, 0, style, text)
    }

    /// One entry of a list beside the label of the list.
    pub fn bullet(&mut self, label: &str, style: Style, text: &str) -> io::Result<()> {
        self.hanging(label, 2, style, &format!("- {text}"))
    }

    /// One line beside its label, however long: it is there to be copied.
    pub fn whole(&mut self, label: &str, text: &str) -> io::Result<()> {
        self.lines(label, 0, PLAIN, vec![Escaped(text).to_string()])
    }

    fn hanging(&mut self, label: &str, hang: usize, style: Style, text: &str) -> io::Result<()> {
        self.lines(label, hang, style, self.wrap(text, GUTTER, hang))
    }

    fn lines(
        &mut self,
        label: &str,
        hang: usize,
        style: Style,
        lines: Vec<String>,
    ) -> io::Result<()> {
        for (nth, line) in lines.into_iter().enumerate() {
            if nth == 0 {
                let gap = GUTTER.saturating_sub(2 + label.len());
                let label = self.paint(DIM, label);
                writeln!(self.out, "  {label}{:gap$}{}", "", self.paint(style, &line))?;
            } else {
                let indent = GUTTER + hang;
                writeln!(self.out, "{:indent$}{}", "", self.paint(style, &line))?;
            }
        }
        Ok(())
    }

    /// Text is escaped before it is measured: an escape is longer than what it stands for.
    fn wrap(&self, text: &str, indent: usize, hang: usize) -> Vec<String> {
        let text = Escaped(text).to_string();
        let hang = " ".repeat(hang);
        let options = textwrap::Options::new(self.room(indent))
            .subsequent_indent(&hang)
            .word_splitter(textwrap::WordSplitter::NoHyphenation);
        let lines = textwrap::wrap(&text, options);
        lines
            .iter()
            .map(|line| line.strip_prefix(hang.as_str()).unwrap_or(line).to_owned())
            .collect()
    }
}

/// Text between the codes of its style; bare when the style is plain.
pub(super) struct Painted<'t> {
    style: Style,
    text: &'t str,
}

impl fmt::Display for Painted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Codes around nothing would only be noise in a log.
        let style = if self.text.trim().is_empty() {
            PLAIN
        } else {
            self.style
        };
        write!(f, "{style}{}{style:#}", Escaped(self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_page_writes_no_codes() {
        let mut out = Vec::new();
        Page::new(&mut out, false, 80)
            .labelled("blame", BAD, "handle\u{1b}[2J")
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "  blame     handle\\x1b[2J\n"
        );
    }
}
