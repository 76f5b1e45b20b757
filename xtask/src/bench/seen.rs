//! What a program under test left behind when it ended: its report or its lines, and its stderr.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};

/// What a program left behind.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub lines: u64,
    /// Its JSON report, when it wrote one.
    pub report: Option<serde_json::Value>,
    pub errors: String,
}

impl Seen {
    pub fn read(output: &Path, errors: &Path) -> Result<Self> {
        let errors = fs::read_to_string(errors).unwrap_or_default();
        let Ok(file) = File::open(output) else {
            return Ok(Self {
                errors,
                ..Self::default()
            });
        };
        let mut file = BufReader::with_capacity(1 << 20, file);
        if file.fill_buf().is_ok_and(|start| start.starts_with(b"{\n")) {
            let report = serde_json::from_reader(file).context("understand the report")?;
            return Ok(Self {
                lines: 0,
                report: Some(report),
                errors,
            });
        }
        let mut lines = 0;
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line).context("count lines")? > 0 {
            lines += 1;
            line.clear();
        }
        Ok(Self {
            lines,
            report: None,
            errors,
        })
    }

    /// Events the tool says it lost; `None` when it says nothing.
    pub fn lost(&self) -> Option<u64> {
        self.report
            .as_ref()?
            .pointer("/window/events/lost")?
            .as_u64()
    }

    /// `name (kind): status` of each hook in its report.
    pub fn hooks(&self) -> Vec<String> {
        let text = |hook: &serde_json::Value, key: &str| -> Option<String> {
            Some(hook.get(key)?.as_str()?.to_owned())
        };
        let hooks = self
            .report
            .as_ref()
            .and_then(|it| it.get("hooks")?.as_array());
        hooks
            .into_iter()
            .flatten()
            .filter_map(|hook| {
                Some(format!(
                    "{} ({}): {}",
                    text(hook, "name")?,
                    text(hook, "kind")?,
                    text(hook, "status")?
                ))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Seen {
        let path = std::env::temp_dir().join(format!(
            "sockleak-bench-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        fs::write(&path, text).unwrap();
        let seen = Seen::read(&path, Path::new("/nonexistent")).unwrap();
        fs::remove_file(&path).unwrap();
        seen
    }

    #[test]
    fn a_report_tells_its_losses_and_hooks() {
        let seen = seen(
            "{\n\"window\": {\"events\": {\"lost\": 3}}, \"hooks\": [{\"name\": \"a\", \"kind\": \
             \"tp_btf\", \"status\": \"attached\"}]}",
        );
        assert_eq!(seen.lost(), Some(3));
        assert_eq!(seen.hooks(), ["a (tp_btf): attached"]);
    }

    #[test]
    fn lines_are_counted() {
        let seen = seen("one\ntwo\nthree\n");
        assert_eq!((seen.lines, seen.lost()), (3, None));
    }
}
