//! What `sockleak run` takes beyond the options that all commands share.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Verdict, parse_verdict};
use crate::model::verdict::Severity;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub command: Vec<OsString>,
    /// Time in `CLOSE_WAIT` from which a socket that only an exit closed is a finding.
    pub exit_age: Duration,
    /// How long the end may take to become clear.
    pub settle: Duration,
    /// How long to wait for what CMD left behind.
    pub wait_children: Duration,
    pub kill_children: bool,
    /// The least severity that fails.
    pub fail_on: Severity,
    /// What the program closed later fails as well.
    pub strict: bool,
    pub error_exitcode: u8,
    pub outputs: RunOutputs,
    pub known: Known,
    pub how_often: HowOften,
    pub until: Option<Until>,
    pub timeout: Option<Duration>,
    pub if_unable: IfUnable,
}

/// Where findings go, beside stderr.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutputs {
    pub json: Option<PathBuf>,
    pub junit: Option<PathBuf>,
    pub sarif: Option<PathBuf>,
    pub github: bool,
    pub source_root: Option<PathBuf>,
    /// Addresses beyond this machine in the files for CI systems as well.
    pub show_addrs: bool,
}

/// Leaks that are known and do not fail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub suppressions: Option<PathBuf>,
    pub baseline: Option<PathBuf>,
    pub write_baseline: Option<PathBuf>,
    /// So many leaking sockets are let pass.
    pub max_leaks: u64,
    /// A known site may have grown by so many sockets.
    pub max_growth: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowOften {
    #[default]
    Once,
    /// And say in how many of the runs each finding appeared.
    Repeat(u32),
    /// With `{n}` replaced by the one and by the other: what grows with it leaks.
    Scale(u64, u64),
}

/// A finding that ends CMD with success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until {
    pub verdict: Verdict,
    pub function: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfUnable {
    #[default]
    Fail,
    /// CMD runs untraced, and the report says that nothing was checked.
    Skip,
}

/// Reads `eof-ignored` and `eof-ignored:handle_client`.
pub fn parse_until(text: &str) -> Result<Until, String> {
    let (verdict, function) = match text.split_once(':') {
        Some((_, "")) => return Err("the function after ':' is missing".to_owned()),
        Some((verdict, function)) => (verdict, Some(function.to_owned())),
        None => (text, None),
    };
    Ok(Until {
        verdict: parse_verdict(verdict)?,
        function,
    })
}

/// Reads `10,1000`: two numbers, the second larger.
pub fn parse_scale(text: &str) -> Result<(u64, u64), String> {
    let numbers = text
        .split_once(',')
        .and_then(|(small, large)| Some((small.parse().ok()?, large.parse().ok()?)));
    match numbers {
        Some((small, large)) if small < large => Ok((small, large)),
        Some(_) => Err("the second number must be larger than the first".to_owned()),
        None => Err("write two numbers: 10,1000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_to_wait_for_is_a_verdict_and_perhaps_a_function() {
        let until = parse_until("eof-ignored:net::handle<T>").unwrap();
        assert_eq!(until.verdict, Verdict::EofIgnored);
        assert_eq!(until.function.as_deref(), Some("net::handle<T>"));
        assert_eq!(parse_until("never-read").unwrap().function, None);
        assert!(parse_until("never-red").unwrap_err().contains("never-read"));
        assert!(parse_until("never-read:").unwrap_err().contains("missing"));
    }

    #[test]
    fn a_scale_grows() {
        assert_eq!(parse_scale("10,1000"), Ok((10, 1000)));
        assert!(parse_scale("10,10").unwrap_err().contains("larger"));
        assert!(parse_scale("10").unwrap_err().contains("two numbers"));
    }
}
