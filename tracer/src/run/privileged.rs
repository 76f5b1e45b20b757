//! The tracer's process, started beside CMD: by `sudo -n` unless we may trace ourselves.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::events::Signals;
use super::wire::{self, Order};
use crate::exit::Explained;
use crate::model::untrusted::Untrusted;
use crate::options::Options;
use crate::probe::privilege;

/// Not for users.
pub const ARGUMENT: &str = "--internal-run-tracer";

/// Lines of the tracer's stderr that are kept for a message.
const KEPT: usize = 20;

pub(super) struct Tracer {
    pub(super) link: UnixStream,
    said: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    child: Child,
    by_sudo: bool,
}

impl Tracer {
    pub(super) fn start(signals: &Signals) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let by_sudo = !privilege::may_trace();
        let mut command = if by_sudo {
            let mut command = Command::new("sudo");
            command.args(["-n", "--"]).arg(std::env::current_exe()?);
            command
        } else {
            Command::new("/proc/self/exe")
        };
        command
            .arg(ARGUMENT)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for CMD; the tracer has a report to make.
            .process_group(0);
        // Nothing else in there: a thread would inherit what is let through.
        let mut child = signals.as_before(|| command.spawn())?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let reader = child.stderr.take().map(|stderr| {
            let said = Arc::clone(&said);
            std::thread::spawn(move || listen(BufReader::new(stderr), &said))
        });
        Ok(Self {
            link: ours,
            said,
            reader,
            child,
            by_sudo,
        })
    }

    pub(super) fn follow(
        &self,
        options: &Options,
        root: u32,
        record: Option<&File>,
    ) -> io::Result<()> {
        wire::send_file(&self.link, record.map(AsFd::as_fd))?;
        let options = Box::new(options.clone());
        wire::send(&self.link, &Order::Follow { options, root })
    }

    /// Why it went away without a word.
    pub(super) fn obituary(&mut self) -> Explained {
        // Its stderr ends when it has ended, which its closed link told.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let status = self
            .child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let words = if said.is_empty() {
            status
        } else {
            said.join(" / ")
        };
        let words = Untrusted::new(words);
        if self.by_sudo {
            Explained::new(
                format!("the tracer could not be started by sudo: {words}"),
                "tracing needs root, and sudo asks for a password here or does not allow it",
                "allow it without one (NOPASSWD for this program), run `sudo -v` before, or run `sudo sockleak run`",
            )
        } else {
            Explained::new(
                format!("the tracer ended too early: {words}"),
                "it was killed, or met a defect",
                "run it again with -vv, and report what it says",
            )
        }
    }
}

fn listen(stderr: impl BufRead, said: &Mutex<Vec<String>>) {
    for line in stderr.lines().map_while(Result::ok) {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < KEPT {
            said.push(line);
        }
    }
}

/// The process could not even be made.
pub(super) fn not_started(error: &io::Error) -> Explained {
    if error.kind() == io::ErrorKind::NotFound {
        return Explained::new(
            "tracing needs privileges, and there is no sudo to get them with",
            "this is not root, and sudo is not installed or not in PATH",
            "run it as root, install sudo, or give the program capabilities: `sockleak doctor` says which",
        );
    }
    Explained::new(
        format!("the tracer cannot be started: {error}"),
        "the system is out of processes or memory",
        "free some, and run it again",
    )
}

/// It is still there but says nothing.
pub(super) fn silent(has_not: &str, limit: Duration) -> Explained {
    Explained::new(
        format!("the tracer has not {has_not} within {} s", limit.as_secs()),
        "the machine is overloaded, sudo waits for something, or this is a defect",
        "run it again with less load; `sudo -n true` must answer at once",
    )
}
