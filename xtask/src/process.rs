//! Running other programs: every failure names the command, and a command that must not hang has
//! a time limit.

use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Runs `command` with our stdout and stderr; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Like [`run`], and gives up after `limit`.
pub fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let mut child = command
        .spawn()
        .with_context(|| format!("start {}", shown(command)))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("wait for {}", shown(command)))?
        {
            if status.success() {
                return Ok(());
            }
            bail!("{} ended with {status}", shown(command));
        }
        if Instant::now() >= deadline {
            child
                .kill()
                .with_context(|| format!("stop {}", shown(command)))?;
            child
                .wait()
                .with_context(|| format!("wait for {}", shown(command)))?;
            bail!(
                "{} did not end within {} s",
                shown(command),
                limit.as_secs()
            );
        }
        sleep(Duration::from_millis(50));
    }
}

/// What `command` prints on stdout, trimmed; its stderr is in the error when it fails.
pub fn read(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", shown(command)))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("{} ended with {status}: {}", shown(command), said.trim());
    }
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}

/// The command line, without the environment.
fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}
