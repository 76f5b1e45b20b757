//! docs/performance.md: each command replaces its own section between two marks and leaves what
//! people wrote around it alone.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::folder;
use crate::{repo, say};

/// In the order in which they stand in the document.
const SECTIONS: &[&str] = &["hooks", "churn", "run", "runtimes", "scale", "million"];

const HEAD: &str = "# What sockleak costs

The sections between the marks are written by `cargo xtask bench`; text outside them is not touched.
";

/// Prints a section; only a full run also replaces it in the document.
pub fn publish(section: &str, text: &str, full: bool) -> Result<()> {
    say::result(text);
    let path = if full {
        repo::root().join("docs/performance.md")
    } else {
        folder().join("performance.md")
    };
    let before = fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    if let Some(docs) = path.parent() {
        fs::create_dir_all(docs).with_context(|| format!("create {}", docs.display()))?;
    }
    fs::write(&path, with_section(&before, section, text))
        .with_context(|| format!("write {}", path.display()))?;
    say::step(format_args!("wrote {}", repo::shown(&path)));
    Ok(())
}

/// Raw figures, one line a measurement, for whoever wants to look behind a median.
pub fn keep_raw(name: &str, csv: &str) -> Result<PathBuf> {
    let path = folder().join(name);
    fs::write(&path, csv).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

fn with_section(document: &str, section: &str, text: &str) -> String {
    let (begin, end) = marks(section);
    if let Some(replaced) = between(document, &begin, &end, text) {
        return replaced;
    }
    let body = format!("{begin}\n{}\n{end}", text.trim());
    // New: before the first section that comes later, or at the end.
    let later = SECTIONS
        .iter()
        .skip_while(|name| **name != section)
        .skip(1)
        .find_map(|name| document.find(&marks(name).0));
    match later.and_then(|at| document.split_at_checked(at)) {
        Some((before, after)) => format!("{before}{body}\n\n{after}"),
        None => format!("{}\n\n{body}\n", document.trim_end()),
    }
}

/// The document with `text` between two marks; `None` when it does not have them.
pub fn between(document: &str, begin: &str, end: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim()))
}

fn marks(section: &str) -> (String, String) {
    (
        format!("<!-- begin: cargo xtask bench {section} -->"),
        format!("<!-- end: cargo xtask bench {section} -->"),
    )
}

/// `80,000`.
pub fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A Markdown table; the first column is text, the others are figures.
pub struct Table {
    text: String,
}

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        let mut text = format!("| {} |\n|", columns.join(" | "));
        for (index, _) in columns.iter().enumerate() {
            text.push_str(if index == 0 { "---|" } else { "---:|" });
        }
        text.push('\n');
        Self { text }
    }

    pub fn row(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let first = with_section(HEAD, "scale", "## Scale\none");
        assert!(first.starts_with(HEAD.trim_end()));
        let written = first.replace("# What", "By hand.\n\n# What");
        let second = with_section(&written, "scale", "## Scale\ntwo");
        assert!(
            second.starts_with("By hand.") && second.contains("two") && !second.contains("one")
        );
        assert_eq!(second.matches("begin:").count(), 1);
    }

    #[test]
    fn sections_keep_their_order() {
        let document = with_section(&with_section(HEAD, "scale", "S"), "churn", "C");
        assert!(document.find("\nC\n").unwrap() < document.find("\nS\n").unwrap());
        assert_eq!(with_section(&document, "churn", "C"), document);
    }

    #[test]
    fn digits_in_groups() {
        for (number, text) in [
            (7_u64, "7"),
            (123, "123"),
            (80_000, "80,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn tables() {
        let mut table = Table::new(&["arm", "µs"]);
        table.row(&["none".to_owned(), "1.0".to_owned()]);
        assert_eq!(table.text(), "| arm | µs |\n|---|---:|\n| none | 1.0 |\n");
    }
}
