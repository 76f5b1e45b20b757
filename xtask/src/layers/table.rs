//! The table of modules and what each may import: the block fenced as `layers` in ARCHITECTURE.md,
//! a line `module: import import…` a module. `#` starts a comment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::trouble::Trouble;

const FENCE: &str = "```layers";

#[derive(Debug)]
pub struct Table {
    rows: BTreeMap<String, BTreeSet<String>>,
}

impl Table {
    pub fn parse(architecture: &str) -> Result<Self> {
        let mut lines = architecture.lines().skip_while(|line| line.trim() != FENCE);
        if lines.next().is_none() {
            return Err(malformed(
                "ARCHITECTURE.md has no block marked ```layers".to_owned(),
            ));
        }
        let mut rows = BTreeMap::new();
        for line in lines.take_while(|line| line.trim() != "```") {
            let row = line.split('#').next().unwrap_or_default().trim();
            if row.is_empty() {
                continue;
            }
            let Some((module, imports)) = row.split_once(':') else {
                return Err(malformed(format!("no `module: imports` in `{line}`")));
            };
            let imports = imports
                .split([' ', ','])
                .filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
                .map(str::to_owned)
                .collect();
            if rows.insert(module.trim().to_owned(), imports).is_some() {
                return Err(malformed(format!("two rows for `{}`", module.trim())));
            }
        }
        Ok(Self { rows })
    }

    pub fn allows(&self, module: &str, import: &str) -> bool {
        module == import
            || self
                .rows
                .get(module)
                .is_some_and(|row| row.contains(import))
    }

    /// Where the table and the folder differ, and where the table itself runs in a circle.
    pub fn disagreements(&self, modules: &[String]) -> Vec<String> {
        let missing = modules
            .iter()
            .filter(|module| !self.rows.contains_key(*module))
            .map(|module| format!("ARCHITECTURE.md: no row for `{module}`"));
        let gone = self
            .rows
            .keys()
            .filter(|module| !modules.contains(module))
            .map(|module| format!("ARCHITECTURE.md: a row for `{module}`, which does not exist"));
        let unknown = self.rows.iter().flat_map(|(module, row)| {
            row.iter()
                .filter(|import| !self.rows.contains_key(*import))
                .map(move |import| {
                    format!("ARCHITECTURE.md: `{module}` names `{import}`, which has no row")
                })
        });
        let mut found: Vec<String> = missing.chain(gone).chain(unknown).collect();
        let circle = self.circle();
        if !circle.is_empty() {
            let names: Vec<&str> = circle.into_iter().collect();
            found.push(format!(
                "ARCHITECTURE.md: not one direction among {}",
                names.join(", ")
            ));
        }
        found
    }

    /// The modules left when, again and again, those that import nothing that is left are removed.
    fn circle(&self) -> BTreeSet<&str> {
        let mut left: BTreeSet<&str> = self.rows.keys().map(String::as_str).collect();
        loop {
            let free: Vec<&str> = left
                .iter()
                .copied()
                .filter(|module| {
                    let row = self.rows.get(*module);
                    !row.is_some_and(|row| row.iter().any(|import| left.contains(import.as_str())))
                })
                .collect();
            if free.is_empty() {
                return left;
            }
            for module in free {
                left.remove(module);
            }
        }
    }
}

fn malformed(what: String) -> anyhow::Error {
    Trouble::error(
        what,
        "the table is read by `cargo xtask layers` and has a fixed form",
        "write one line `module: import import…` for each top module of tracer/src",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> Table {
        Table::parse(&format!("# Layers\n\n```layers\n{rows}\n```\nafter: all\n")).unwrap()
    }

    #[test]
    fn rows_say_what_is_allowed() {
        let table = table("model:  # the words\ntrack: model\nsink: model, track");
        assert!(table.allows("sink", "track") && table.allows("track", "track"));
        assert!(!table.allows("track", "sink") && !table.allows("after", "all"));
        assert!(
            table
                .disagreements(&["model".into(), "sink".into(), "track".into()])
                .is_empty()
        );
    }

    #[test]
    fn rows_and_folders_must_agree() {
        let found = table("model: ghost").disagreements(&["cli".into()]);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_circle_is_found() {
        let found = table("a: b\nb: a\nc: a").disagreements(&["a".into(), "b".into(), "c".into()]);
        assert_eq!(found, ["ARCHITECTURE.md: not one direction among a, b, c"]);
    }

    #[test]
    fn no_block_is_an_error() {
        assert!(Table::parse("# Layers\n").is_err());
        assert!(Table::parse("```layers\nno colon\n```").is_err());
    }
}
