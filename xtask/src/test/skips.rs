//! Tests that did not run: each is listed with its reason, and one that is not on the committed
//! list fails the run. A test says so by a line in a file, since its own output is not shown.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::trouble::Trouble;
use crate::{repo, say};

/// Names the file a test appends `name: reason` to.
pub const FILE_VARIABLE: &str = "SOCKLEAK_SKIPS_FILE";

pub struct Skips {
    file: PathBuf,
}

impl Skips {
    /// An empty record.
    pub fn start() -> Result<Self> {
        let file = repo::target().join("skips.txt");
        fs::create_dir_all(repo::target()).context("create the target directory")?;
        fs::write(&file, "").with_context(|| format!("clear {}", file.display()))?;
        Ok(Self { file })
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Lists what was skipped; an error when one of them is not allowed to be.
    pub fn report(&self, ignored: &[String]) -> Result<()> {
        let recorded = fs::read_to_string(&self.file)
            .with_context(|| format!("read {}", self.file.display()))?;
        let mut skipped = parse(&recorded);
        for name in ignored {
            skipped.entry(name).or_insert("marked #[ignore]");
        }
        let list = repo::root().join("tests/skips.txt");
        let committed = match fs::read_to_string(&list) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("read {}", list.display())),
        };
        let allowed = parse(&committed);
        say::result(format_args!("skipped tests: {}", skipped.len()));
        for (name, reason) in &skipped {
            say::result(format_args!("  {name}: {reason}"));
        }
        let surprises: Vec<&str> = skipped
            .keys()
            .copied()
            .filter(|name| !allowed.contains_key(name))
            .collect();
        if surprises.is_empty() {
            return Ok(());
        }
        Err(Trouble::error(
            format!(
                "skipped, and not on {}: {}",
                repo::shown(&list),
                surprises.join(", ")
            ),
            "this machine lacks what these tests need",
            format!(
                "provide what the reasons above ask for; if a test can never run here, add a line \
                 `name: reason` to {}",
                repo::shown(&list),
            ),
        ))
    }
}

/// Lines `name: reason`; `#` starts a comment. A name may hold `::`, so the space counts.
fn parse(text: &str) -> BTreeMap<&str, &str> {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            line.split_once(": ")
                .unwrap_or((line.trim_end_matches(':'), ""))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_path() {
        let text = "# kernels\nlive::accept: no trampolines here: EPERM\n\nbare\n";
        let skips = parse(text);
        assert_eq!(
            skips.get("live::accept"),
            Some(&"no trampolines here: EPERM")
        );
        assert_eq!(skips.get("bare"), Some(&""));
        assert_eq!(skips.len(), 2);
    }
}
