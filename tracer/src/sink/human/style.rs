//! Colour and line width of the human report. Everything printed passes through `Escaped` here, so
//! no sentence built from a process's words can drive the terminal.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use textwrap::core::display_width;

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

    fn hanging(&mut self, label: &str, hang: usize, style: Style, text: &str) -> io::Result<()> {
        for (nth, line) in self.wrap(text, GUTTER, hang).into_iter().enumerate() {
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

/// Pads to `width` columns; longer text stays whole.
pub(super) fn padded(text: &str, width: usize) -> String {
    let gap = width.saturating_sub(display_width(text));
    format!("{text}{:gap$}", "")
}

/// Fits a name into `max` columns by leaving out its middle: both ends of a symbol tell more.
pub(super) fn elide_middle(text: &str, max: usize) -> String {
    if display_width(text) <= max {
        return text.to_owned();
    }
    let keep = max.saturating_sub(1);
    let tail = keep / 2;
    format!("{}…{}", head_of(text, keep - tail), tail_of(text, tail))
}

/// Fits a symbol: arguments go first, then template parameters, then the middle. What is left of
/// `std::vector<int>::push_back(int&&)` is `std::vector<…>::push_back(…)`.
pub(super) fn fit_symbol(symbol: &str, max: usize) -> String {
    let mut text = symbol.to_owned();
    for (open, close) in [('(', ')'), ('<', '>')] {
        if display_width(&text) <= max {
            return text;
        }
        text = emptied(&text, open, close);
    }
    elide_middle(&text, max)
}

/// Replaces what stands between outermost brackets by `…`.
fn emptied(text: &str, open: char, close: char) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth = 0_usize;
    let mut before = ' ';
    for c in text.chars() {
        // The arrow of a return type closes nothing.
        let arrow = c == '>' && before == '-';
        before = c;
        if c == open {
            if depth == 0 {
                out.push_str(&format!("{open}…"));
            }
            depth += 1;
        } else if c == close && !arrow && depth > 0 {
            depth -= 1;
            if depth == 0 {
                out.push(close);
            }
        } else if depth == 0 {
            out.push(c);
        }
    }
    out
}

/// Fits a path by leaving out its beginning.
pub(super) fn elide_start(text: &str, max: usize) -> String {
    if display_width(text) <= max {
        return text.to_owned();
    }
    format!("…{}", tail_of(text, max.saturating_sub(1)))
}

fn head_of(text: &str, columns: usize) -> &str {
    let fits = |end: &usize| display_width(text.get(..*end).unwrap_or_default()) <= columns;
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .take_while(fits)
        .last()
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn tail_of(text: &str, columns: usize) -> &str {
    let fits = |start: &usize| display_width(text.get(*start..).unwrap_or_default()) <= columns;
    let start = text
        .char_indices()
        .map(|(at, _)| at)
        .find(fits)
        .unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elision_keeps_the_telling_end_and_fits() {
        assert_eq!(elide_middle("handle_client", 20), "handle_client");
        assert_eq!(elide_middle("abcdefghij", 7), "abc…hij");
        assert_eq!(elide_start("/home/ci/src/conn.c", 12), "…/src/conn.c");
        assert_eq!(display_width(&elide_middle("漢字漢字漢字", 5)), 5);
        assert_eq!(elide_middle("abc", 1), "…");
    }

    #[test]
    fn a_long_symbol_loses_its_arguments_first() {
        let symbol = "std::map<K, std::vector<V>>::find(K const&, (lambda)#1) const";
        assert_eq!(fit_symbol(symbol, 100), symbol);
        assert_eq!(
            fit_symbol(symbol, 50),
            "std::map<K, std::vector<V>>::find(…) const"
        );
        assert_eq!(fit_symbol(symbol, 30), "std::map<…>::find(…) const");
        assert_eq!(fit_symbol(symbol, 9), "std:…onst");
        assert_eq!(
            fit_symbol("<dyn Fn(u8) -> u8>::call_mut", 20),
            "<…>::call_mut"
        );
    }

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
