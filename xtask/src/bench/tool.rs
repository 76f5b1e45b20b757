//! One program under test: started, waited for until it is attached, stopped as its user would, and
//! asked what it saw.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::seen::Seen;
use super::{alone, floor, folder, sockleak};
use crate::trouble::Trouble;

const PATIENCE: Duration = Duration::from_secs(30);
/// Programs attach one after another; this long without a new one means all are.
const STEADY: Duration = Duration::from_millis(500);
const GLANCE: Duration = Duration::from_millis(20);

/// How to start a program and how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Empty programs held by a second process of this binary.
    Floor { accept_hook: bool },
    /// `--output` names its file, SIGTERM ends it.
    Sockleak(&'static [&'static str]),
    /// Somebody else's tracer: writes to stdout, Ctrl-C ends it.
    Peer(&'static str),
}

pub struct Tool {
    name: String,
    kind: Kind,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
    started: Instant,
}

impl Tool {
    /// Started, not yet attached.
    pub fn start(name: &str, kind: Kind) -> Result<Self> {
        let output = folder().join(format!("{name}.out"));
        let errors = folder().join(format!("{name}.err"));
        let open =
            |path: &Path| File::create(path).with_context(|| format!("create {}", path.display()));
        let mut command = match kind {
            Kind::Floor { accept_hook } => {
                let mut command = Command::new(std::env::current_exe().context("find us")?);
                command.args(["bench", "floor-holder"]);
                if !accept_hook {
                    command.arg("--no-accept-hook");
                }
                // Ends with its stdin, even when we are killed.
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                command
            }
            Kind::Sockleak(args) => {
                let mut command = Command::new(sockleak());
                command.args(args).arg("--output").arg(&output);
                command.stdin(Stdio::null()).stdout(Stdio::null());
                command
            }
            Kind::Peer(program) => {
                let mut command = Command::new(find(program)?);
                command.stdin(Stdio::null()).stdout(open(&output)?);
                command
            }
        };
        let started = Instant::now();
        let child = command
            .stderr(open(&errors)?)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            kind,
            child,
            output,
            errors,
            started,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns once it holds programs and no more are coming.
    pub fn wait_until_attached(&mut self) -> Result<()> {
        if let Kind::Floor { .. } = self.kind {
            return self.wait_for_floor();
        }
        let deadline = Instant::now() + PATIENCE;
        let mut held = (Vec::new(), Vec::new());
        let mut since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().context("look after the tool")? {
                return Err(self.ended_early(status));
            }
            let now = alone::held_by(self.pid());
            if now != held {
                held = now;
                since = Instant::now();
            }
            if !held.0.is_empty() && since.elapsed() >= STEADY {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} attached nothing within {} s",
                    self.name,
                    PATIENCE.as_secs()
                );
            }
            sleep(GLANCE);
        }
    }

    /// When it said a line with `word` on stderr, counted from its start; `None` if it does not.
    pub fn wait_for_line(&mut self, word: &str) -> Result<Option<Duration>> {
        let deadline = self.started + PATIENCE;
        loop {
            let said = fs::read_to_string(&self.errors).unwrap_or_default();
            if said.lines().any(|line| line.contains(word)) {
                return Ok(Some(self.started.elapsed()));
            }
            if let Some(status) = self.child.try_wait().context("look after the tool")? {
                return Err(self.ended_early(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(GLANCE / 10);
        }
    }

    fn wait_for_floor(&mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("hear the floor holder")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("wait for the floor holder")?;
        if line.trim() == floor::READY {
            return Ok(());
        }
        let status = self.child.wait().context("reap the floor holder")?;
        Err(self.ended_early(status))
    }

    fn ended_early(&self, status: ExitStatus) -> anyhow::Error {
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        Trouble::error(
            format!("{} ended with {status}: {}", self.name, said.trim()),
            "it cannot attach on this machine, or is not built yet",
            "start it by hand and look at what it says",
        )
    }

    /// Ends it the way its user would and waits for its report.
    pub fn stop(mut self) -> Result<Seen> {
        match self.kind {
            Kind::Floor { .. } => drop(self.child.stdin.take()),
            Kind::Sockleak(_) => self.signal(Signal::TERM)?,
            Kind::Peer(_) => self.signal(Signal::INT)?,
        }
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("wait for the tool")? {
                break status;
            }
            if Instant::now() >= deadline {
                bail!("{} did not end within {} s", self.name, PATIENCE.as_secs());
            }
            sleep(GLANCE);
        };
        // Peers differ in what Ctrl-C makes of their exit code.
        if !status.success() && !matches!(self.kind, Kind::Peer(_)) {
            return Err(self.ended_early(status));
        }
        Seen::read(&self.output, &self.errors)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("tell {} to end", self.name))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Only after a failure is it still running here; both fail harmlessly when it is not.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.output);
    }
}

/// In PATH, or where distributions keep tools for root.
pub fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Trouble::error(
                format!("{program} is not installed"),
                "the tools to compare with are packages of their own",
                "install libbpf-tools (tcpstates, tcplife) and iproute2 (ss)",
            )
        })
}
