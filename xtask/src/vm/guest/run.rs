//! Programs the guest runs, with their output in files: nobody has to read along.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::record::Step;
use crate::process;

/// Loading programs into an emulated kernel takes seconds.
const PATIENCE: Duration = Duration::from_secs(90);
/// A program that is still running. It ends with the machine.
pub struct Background {
    name: String,
    child: Child,
    /// Rigs end when their stdin does.
    _stdin: Option<ChildStdin>,
}

impl Background {
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let create = |kind| {
            let path = output(name, kind);
            File::create(&path).with_context(|| format!("create {}", path.display()))
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(create("stdout")?)
            .stderr(create("stderr")?)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let stdin = child.stdin.take();
        Ok(Self {
            name: name.to_owned(),
            child,
            _stdin: stdin,
        })
    }

    /// Waits until the program holds a link to the kernel: for one that attaches only one.
    pub fn wait_until_attached(&self) -> Result<()> {
        self.wait_for("attached hook", || holds_link(self.child.id()))
    }

    /// Waits for a line that begins so, on stdout or stderr.
    pub fn wait_for_line(&self, stream: &str, prefix: &str) -> Result<()> {
        self.wait_for(prefix, || {
            let said = fs::read_to_string(output(&self.name, stream)).unwrap_or_default();
            said.lines().any(|line| line.starts_with(prefix))
        })
    }

    /// SIGTERM, and the step it ends with.
    pub fn terminate(mut self) -> Result<Step> {
        let pid = self.child.id().to_string();
        process::run(Command::new("/bin/kill").args(["-TERM", &pid]))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().context("wait for a program")? {
                let mut step = self.so_far()?;
                step.code = status.code();
                return Ok(step);
            }
            if Instant::now() > deadline {
                bail!("{} did not end: {}", self.name, self.so_far()?.stderr);
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// What it has said until now.
    pub fn so_far(&self) -> Result<Step> {
        let said = |kind| {
            let path = output(&self.name, kind);
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            anyhow::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Step {
            name: self.name.clone(),
            code: None,
            stdout: said("stdout")?,
            stderr: said("stderr")?,
        })
    }

    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            if Instant::now() > deadline {
                let said = self.so_far()?;
                bail!(
                    "{}: no {what}, but: {}{}",
                    self.name,
                    said.stdout,
                    said.stderr
                );
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// Runs `command` to its end, which is bounded by the host's patience with the guest.
pub fn finished(name: &str, command: &mut Command) -> Result<Step> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {name}"))?;
    Ok(Step {
        name: name.to_owned(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn output(name: &str, kind: &str) -> PathBuf {
    format!("/tmp/{name}.{kind}").into()
}

/// By the kernel's own account.
fn holds_link(pid: u32) -> bool {
    let Ok(listing) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return false;
    };
    listing
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .any(|info| info.lines().any(|line| line.starts_with("link_id:")))
}
