//! A cgroup for one run: what it spent is counted by the kernel, whoever of it has waited for whom.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::trouble::Trouble;

/// Until what was started has ended, after the command itself has.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub fn make() -> Result<Self> {
        let mounted = mounted().ok_or_else(|| {
            Trouble::error(
                "no cgroup of version 2 is mounted here",
                "a container without /sys/fs/cgroup, or a host with version 1 alone",
                "run it on a host with cgroup2",
            )
        })?;
        let path = mounted.join(format!("sockleak-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path })
    }

    /// Runs the command inside of it.
    pub fn run(&self, command: &Command) -> Result<ExitStatus> {
        let mut inside = Command::new("sh");
        inside
            .args([
                "-c",
                "echo $$ > \"$0\" && exec \"$@\" </dev/null >/dev/null 2>&1",
            ])
            .arg(self.path.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        inside.status().context("start the run")
    }

    /// CPU seconds of all that ran in it, once nothing runs there any more.
    pub fn spent(&self) -> Result<f64> {
        let end = Instant::now() + PATIENCE;
        while field(&self.path.join("cgroup.events"), "populated")? != 0 {
            ensure!(Instant::now() < end, "something of the run does not end");
            sleep(Duration::from_millis(10));
        }
        let spent = field(&self.path.join("cpu.stat"), "usage_usec")?;
        Ok(spent as f64 / 1e6)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What still runs in it keeps it, and has been complained of.
        let _ = fs::remove_dir(&self.path);
    }
}

fn field(file: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.with_context(|| format!("{} has no {name}", file.display()))
}

fn mounted() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let path = before.split(' ').nth(4)?;
        after.starts_with("cgroup2 ").then(|| PathBuf::from(path))
    })
}
