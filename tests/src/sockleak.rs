//! Runs the program under test: to its end with a deadline, or in the background while rigs run.
use crate::lines::Lines;
use crate::report::Report;
use crate::{paths, process};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

const READY: Duration = Duration::from_secs(20);

/// What a finished run left behind.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// The exit code; a signal is a failure of the test.
    pub fn code(&self) -> i32 {
        let Some(code) = self.status.code() else {
            panic!("sockleak ended with {}\n{}", self.status, self.stderr)
        };
        code
    }

    /// It ended with this code, not by a panic, and said `words` on stderr.
    pub fn said(&self, code: i32, words: &[&str]) {
        let stderr = &self.stderr;
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_eq!(self.code(), code, "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} is not in:\n{stderr}");
        }
    }

    /// The report on stdout of a run that must have succeeded.
    pub fn report(&self) -> Report {
        assert_eq!(self.code(), 0, "sockleak failed:\n{}", self.stderr);
        Report::parse(&self.stdout)
    }
}

pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(paths::sockleak());
    command.args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs `sockleak` with `args` to its end.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    finish(&mut command(args), Duration::from_secs(30))
}

/// Runs any command to its end, with its output taken in.
pub fn finish(command: &mut Command, limit: Duration) -> Finished {
    let mut running = Running::start(command);
    running.wait(limit);
    running.finished()
}

/// A command in the background; killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    streams: Option<(Lines, Lines)>,
    status: Option<ExitStatus>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().display()));
        let stdout = Lines::of(child.stdout.take().expect("stdout"));
        let stderr = Lines::of(child.stderr.take().expect("stderr"));
        Self {
            child,
            streams: Some((stdout, stderr)),
            status: None,
        }
    }

    /// Starts `sockleak watch` with these options; returns once it has attached and looked around,
    /// which `-v` makes it say.
    pub fn watch<S: AsRef<OsStr>>(options: impl IntoIterator<Item = S>) -> Self {
        let running = Self::start(command(["watch", "-v"]).args(options));
        let said = running.stderr().after("bootstrap:", READY);
        assert!(said.is_some(), "never ready:\n{}", running.streams_so_far());
        running
    }

    /// Starts `sockleak trace` with these options; returns once it has attached.
    pub fn trace<S: AsRef<OsStr>>(options: impl IntoIterator<Item = S>) -> Self {
        let running = Self::start(command(["trace"]).args(options));
        let attached = crate::bpf::has_attached(running.pid(), READY);
        assert!(attached, "never ready:\n{}", running.streams_so_far());
        running
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> &Lines {
        &self.streams.as_ref().expect("still running").0
    }

    pub fn stderr(&self) -> &Lines {
        &self.streams.as_ref().expect("still running").1
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(&self.child, signal);
    }

    /// Asks for the final report and returns it.
    pub fn stop(mut self) -> Finished {
        self.signal(Signal::TERM);
        self.wait(Duration::from_secs(20));
        self.finished()
    }

    /// Waits for the end, and returns what it left behind.
    pub fn finish(mut self, limit: Duration) -> Finished {
        self.wait(limit);
        self.finished()
    }

    /// Waits for the end; running over the deadline fails the test.
    pub fn wait(&mut self, limit: Duration) {
        self.status = process::wait(&mut self.child, limit);
        assert!(
            self.status.is_some(),
            "still running after {limit:?}: {}",
            self.streams_so_far()
        );
    }

    /// What it left behind, after `wait`.
    pub fn ended(self) -> Finished {
        self.finished()
    }

    fn finished(mut self) -> Finished {
        let (stdout, stderr) = self.streams.take().expect("taken once");
        let status = self.status.expect("waited for");
        Finished {
            status,
            stdout: stdout.all(),
            stderr: stderr.all(),
        }
    }

    pub fn streams_so_far(&self) -> String {
        let Some((stdout, stderr)) = &self.streams else {
            return String::new();
        };
        format!(
            "{}\n{}",
            stdout.so_far().join("\n"),
            stderr.so_far().join("\n")
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
