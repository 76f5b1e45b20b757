//! How the program ends: exit codes, and what it says when it fails. Wrong usage is told by `cli`.

use std::{
    fmt,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};

use crate::model::untrusted::Untrusted;

pub const DONE: u8 = 0;
pub const USAGE: u8 = 2;
/// At least one leak, when the user asked for that to be a failure. `--error-exitcode` changes it.
pub const LEAK: u8 = 23;
/// sockleak itself failed, or lost events and cannot say "clean".
pub const FAILED: u8 = 125;

/// CMD of `run` exists but cannot be executed; there is no such CMD.
pub const CANNOT_EXECUTE: u8 = 126;
pub const NOT_FOUND: u8 = 127;
/// `run --until`: the finding did not appear in time.
pub const NOT_APPEARED: u8 = 124;

/// For a CMD that the kernel refuses to execute, as a shell does.
pub const fn not_executed(errno: i32) -> u8 {
    if errno == rustix::io::Errno::NOENT.raw_os_error() {
        NOT_FOUND
    } else {
        CANNOT_EXECUTE
    }
}

/// A failure as the person at the terminal needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// What failed.
    pub what: String,
    /// The likely cause.
    pub cause: String,
    /// What to do.
    pub fix: String,
}

impl Explained {
    pub fn new(what: impl Into<String>, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: cause.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "  likely cause: {}", self.cause)?;
        write!(f, "  what to do:   {}", self.fix)
    }
}

impl Explained {
    /// All three parts in one line, for a list of warnings.
    pub fn sentence(&self) -> String {
        format!("{} ({}): {}", self.what, self.cause, self.fix)
    }
}

impl std::error::Error for Explained {}

/// A failed operation on a file the user named; `doing` is an infinitive such as "write the report
/// to". A reader that went away stays recognisable as such.
pub fn file_error(doing: &str, path: &Path, error: io::Error) -> anyhow::Error {
    use io::ErrorKind as Kind;
    let (cause, fix) = match error.kind() {
        Kind::BrokenPipe => return error.into(),
        Kind::NotFound => (
            "it, or the folder it is in, does not exist",
            "check the path",
        ),
        Kind::PermissionDenied => (
            "its permissions or its folder's do not allow it",
            "name another path, or change the permissions",
        ),
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => (
            "there is no space left for it",
            "free some space, or name a path on another file system",
        ),
        Kind::IsADirectory => ("it is a folder", "name a file"),
        Kind::ReadOnlyFilesystem => (
            "the file system is read-only",
            "name a path on another file system",
        ),
        _ => ("see the system's reason above", "check the path"),
    };
    let path = Untrusted::from_bytes(path.as_os_str().as_encoded_bytes());
    Explained::new(format!("cannot {doing} {path}: {error}"), cause, fix).into()
}

/// The exit code of a run that ended well. Only `--fail-on-leak` asks for a verdict; then a leak
/// that was seen counts even after a loss, but a loss never reads as "clean".
pub const fn code_for_outcome(leaks: bool, complete: bool, leak_exit: Option<u8>) -> u8 {
    match leak_exit {
        Some(code) if leaks => code,
        Some(_) if !complete => FAILED,
        Some(_) | None => DONE,
    }
}

/// The exit code of a run that failed. Who reads our output may leave at any time: no failure.
pub fn code_for(error: &anyhow::Error) -> u8 {
    if is_broken_pipe(error) { DONE } else { FAILED }
}

/// The last thing `main` does: says what went wrong, and gives the code.
pub fn finish(result: anyhow::Result<u8>) -> ExitCode {
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            if !is_broken_pipe(&error) {
                // Nobody is left to tell when even this fails.
                let _ = writeln!(anstream::stderr(), "sockleak: {}", render(&error));
            }
            code_for(&error).into()
        }
    }
}

/// What the user reads. The three parts when some part of the program knows them; technical
/// context around and below them is left to `-v`.
pub fn render(error: &anyhow::Error) -> String {
    match error
        .chain()
        .find_map(|part| part.downcast_ref::<Explained>())
    {
        Some(explained) => explained.to_string(),
        None => format!("{error:#}"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|part| {
        let io = part.downcast_ref::<io::Error>().map(io::Error::kind);
        let json = part.downcast_ref::<serde_json::Error>();
        let kind = io.or_else(|| json.and_then(serde_json::Error::io_error_kind));
        kind == Some(io::ErrorKind::BrokenPipe)
            || part.downcast_ref() == Some(&rustix::io::Errno::PIPE)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn file_message(kind: io::ErrorKind) -> String {
        let path = Path::new("/var/tmp/report\u{1b}[2J.json");
        render(&file_error("write the report to", path, kind.into()))
    }

    #[test]
    fn a_message_has_three_lines() {
        let error = Explained::new("cannot fly", "no wings", "grow wings");
        assert_eq!(
            error.to_string(),
            "cannot fly\n  likely cause: no wings\n  what to do:   grow wings"
        );
        let wrapped = anyhow::Error::from(error.clone()).context("while starting");
        assert_eq!(render(&wrapped), error.to_string());
        assert_eq!(code_for(&wrapped), FAILED);
    }

    #[test]
    fn an_unexplained_error_still_names_its_causes() {
        let error = Err::<(), _>(io::Error::other("disk on fire"))
            .context("read the recording")
            .unwrap_err();
        assert_eq!(render(&error), "read the recording: disk on fire");
        assert_eq!(code_for(&error), FAILED);
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let json = serde_json::to_writer(Closed, &1).unwrap_err();
        for error in [
            anyhow::Error::from(pipe()).context("write the report"),
            anyhow::Error::from(json).context("write the report"),
            rustix::io::Errno::PIPE.into(),
            file_error("write to", Path::new("fifo"), pipe()),
        ] {
            assert_eq!(code_for(&error), DONE, "{error:#}");
        }
    }

    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_error_says_which_file_and_why() {
        let message = file_message(io::ErrorKind::StorageFull);
        assert!(
            message.starts_with("cannot write the report to /var/tmp/report\\x1b[2J.json: "),
            "{message}"
        );
        assert!(message.contains("no space left"), "{message}");
        assert!(file_message(io::ErrorKind::PermissionDenied).contains("permissions"));
    }

    #[test]
    fn a_loss_never_reads_as_clean() {
        assert_eq!(code_for_outcome(true, false, None), DONE);
        assert_eq!(code_for_outcome(false, true, Some(LEAK)), DONE);
        assert_eq!(code_for_outcome(false, false, Some(LEAK)), FAILED);
        assert_eq!(code_for_outcome(true, false, Some(7)), 7);
    }
}
