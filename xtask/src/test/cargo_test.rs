//! One `cargo test`, shown as it runs and read at the same time for what must be said at the end.

use std::io::{BufRead as _, BufReader};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use super::skips::{self, Skips};
use super::{cargo, root};
use crate::say;

pub struct Run<'a> {
    /// Packages and targets, as cargo takes them.
    pub what: &'a [&'a str],
    /// Against the running kernel, as root: so many tests at a time.
    pub live: Option<usize>,
}

#[derive(Default)]
pub struct Results {
    /// `test result: …`, as cargo printed them.
    pub summaries: Vec<String>,
    pub failed: Vec<String>,
    /// Tests marked `#[ignore]`: they did not run, so they count as skips.
    pub ignored: Vec<String>,
    pub trouble: Vec<anyhow::Error>,
    /// The next line may be a name in the list of failures that ends a binary's output.
    in_failures: bool,
}

impl Results {
    pub fn passed(&self) -> bool {
        self.trouble.is_empty() && !self.summaries.is_empty() && self.failed_binaries() == 0
    }

    fn failed_binaries(&self) -> usize {
        self.summaries
            .iter()
            .filter(|line| line.starts_with("test result: FAILED"))
            .count()
    }

    fn note(&mut self, line: &str) {
        let named = self
            .in_failures
            .then(|| line.strip_prefix("    "))
            .flatten();
        // Not from `test … FAILED`: with one thread a test's own output may stand in between. The
        // closing list has names at once; the one before it, with what they printed, a blank line.
        self.in_failures = line == "failures:" || named.is_some();
        if let Some(name) = named {
            self.failed.push(name.to_owned());
        } else if line.starts_with("test result: ") {
            self.summaries.push(line.to_owned());
        } else if let Some((name, "ignored")) = line
            .strip_prefix("test ")
            .and_then(|test| test.split_once(" ... "))
            .map(|(name, outcome)| (name, outcome.get(..7).unwrap_or_default()))
        {
            self.ignored.push(name.to_owned());
        }
    }
}

impl Run<'_> {
    /// Runs to the end whatever fails on the way; a failing test is a result, not an error.
    pub fn collect(&self, filter: &[String], record: &Skips, results: &mut Results) -> Result<()> {
        let mut test = cargo();
        test.args(["test", "--locked", "--no-fail-fast"])
            .args(self.what);
        if self.live.is_some() {
            root::run_tests_as_root(&mut test)?;
        }
        test.env(skips::FILE_VARIABLE, record.file())
            .arg("--")
            .args(filter);
        if let Some(at_a_time) = self.live {
            test.arg(format!("--test-threads={at_a_time}"));
        }
        let failed_before = results.failed_binaries();
        let succeeded = tee(test, |line| results.note(line))?;
        // A test binary that crashed or was not built fails cargo without a line of its own.
        if !succeeded && results.failed.len() == failed_before {
            let what = self.what.join(" ");
            results
                .trouble
                .push(anyhow!("cargo test {what} failed outside of a test"));
        }
        Ok(())
    }
}

/// Runs `command` with stdout and stderr in one stream, in the order they were written.
fn tee(mut command: Command, mut note: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = std::io::pipe().context("open a pipe for cargo test")?;
    command
        .stdout(writer.try_clone().context("share the pipe")?)
        .stderr(writer);
    let mut child = command.spawn().context("start cargo test")?;
    // Holds the write end: with it open the stream would never end.
    drop(command);
    for line in BufReader::new(reader).split(b'\n') {
        let line = line.context("read what cargo test prints")?;
        let line = String::from_utf8_lossy(&line);
        say::result(&line);
        note(&line);
    }
    Ok(child.wait().context("wait for cargo test")?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_interest() {
        let mut results = Results::default();
        for line in [
            "running 4 tests",
            "test a::b ... ok",
            "test a::c ... printed by a child",
            "FAILED",
            "test a::e ... ignored, needs a kernel",
            "failures:",
            "",
            "---- a::c stdout ----",
            "    not a name",
            "",
            "failures:",
            "    a::c",
            "",
            "    nor this",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            results.note(line);
        }
        assert_eq!(results.failed, ["a::c"]);
        assert_eq!(results.ignored, ["a::e"]);
        assert_eq!(results.summaries.len(), 1);
        assert!(!results.passed());
    }

    #[test]
    fn no_tests_at_all_is_not_a_pass() {
        assert!(!Results::default().passed());
    }
}
