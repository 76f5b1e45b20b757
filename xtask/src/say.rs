//! The only door to the terminal: results on stdout, progress and failures on stderr.
//! A closed pipe is not an error here: whoever closed it did not want the rest.

use std::fmt::Display;
use std::io::Write as _;

/// A result the command was run for.
pub fn result(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What is being done now, so that a slow step has a name.
pub fn step(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "xtask: {line}");
}

/// The error and its causes, one a line.
pub fn failure(error: &anyhow::Error) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "\nxtask: error: {error}");
    for cause in error.chain().skip(1) {
        let _ = writeln!(err, "  because: {cause}");
    }
}
