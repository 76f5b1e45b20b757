//! A file that nobody can read in one sitting says in its head why it must be that long.

use std::fs;

use anyhow::{Context as _, Result};

use crate::repo;
use crate::trouble::Trouble;

const MOST_LINES: usize = 400;
const REASON: &str = "//! Long because";

pub fn check() -> Result<()> {
    let mut long = Vec::new();
    for file in repo::files()? {
        if file.extension().is_none_or(|ext| ext != "rs") {
            continue;
        }
        let source =
            fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        if !is_readable(&source) {
            long.push(format!(
                "{}: {} lines",
                repo::shown(&file),
                source.lines().count()
            ));
        }
    }
    if long.is_empty() {
        return Ok(());
    }
    Err(Trouble::error(
        format!(
            "files of more than {MOST_LINES} lines:\n    {}",
            long.join("\n    ")
        ),
        "a file took on a second behaviour",
        format!("split it by behaviour, or open it with a line `{REASON} …`"),
    ))
}

fn is_readable(source: &str) -> bool {
    source.lines().count() <= MOST_LINES
        || source
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .any(|l| l.starts_with(REASON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_needs_a_reason_in_its_head() {
        let body = "x\n".repeat(MOST_LINES);
        assert!(is_readable(&body));
        assert!(!is_readable(&format!("//! What.\n{body}")));
        assert!(is_readable(&format!(
            "//! What.\n//! Long because a table.\n{body}"
        )));
        assert!(!is_readable(&format!(
            "//! What.\n{body}//! Long because late.\n"
        )));
    }
}
