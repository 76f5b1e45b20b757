//! Process 1 of a guest: makes a system out of a kernel, runs the scenario, tells each step on the
//! second serial line, and switches the machine off.

mod run;
mod systemd;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use self::run::{Background, finished};
use super::image::{RIG_PLAYER, SOCKLEAK, TARGET, TESTS};
use super::record::{DOCTOR, END, RIGS, SNAPSHOT, Step, TRACE, TRACED, WATCH};
use crate::{process, say};

/// The subcommand, as the kernel passes it.
pub const COMMAND: &str = "vm-guest";
/// Set by the host on the kernel's command line; the kernel hands it on in the environment.
pub const MARK: &str = "SOCKLEAK_GUEST";
const RESULTS: &str = "/dev/ttyS1";

/// Run as process 1 of a guest
#[derive(clap::Args)]
pub struct Args {
    /// Not as process 1: systemd is that, and switches off
    #[arg(long)]
    systemd: bool,
}

pub fn run(args: &Args) -> Result<()> {
    if args.systemd {
        return systemd::scenario();
    }
    // It mounts and switches off: nothing to be run by mistake.
    if std::process::id() != 1 || env::var_os(MARK).is_none() {
        bail!("{COMMAND} is for process 1 of a guest that `cargo xtask vm` started");
    }
    let outcome = system().and_then(|()| scenario());
    if let Err(error) = &outcome {
        say::failure(error);
    }
    switch_off()?;
    outcome
}

fn system() -> Result<()> {
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tracefs", "/sys/kernel/tracing"),
        ("securityfs", "/sys/kernel/security"),
    ] {
        process::run(Command::new("/bin/mount").args(["-t", kind, kind, place]))?;
    }
    process::run(Command::new("/bin/ip").args(["link", "set", "lo", "up"]))
}

fn scenario() -> Result<()> {
    let results = OpenOptions::new().write(true).open(RESULTS);
    let mut results = results.context("open the second serial line")?;
    let doctor = finished(DOCTOR, &mut sockleak(&["doctor", "--json"]))?;
    tell(&mut results, &doctor)?;

    let watch = &mut sockleak(&["watch", "-v", "--json", "--min-age", "1s"]);
    let watch = Background::start(WATCH, watch)?;
    // The first thing it says once everything is attached and looked at.
    watch.wait_for_line("stderr", "bootstrap:")?;
    let mut rigs = Vec::new();
    for name in RIGS {
        let rig = Background::start(name, &mut player(&["run", name]))?;
        rig.wait_for_line("stdout", "pid ")?;
        tell(&mut results, &rig.so_far()?)?;
        rigs.push(rig);
    }
    // Twice the age from which sockets are reported.
    sleep(Duration::from_secs(2));
    tell(&mut results, &watch.terminate()?)?;

    let snapshot = &mut sockleak(&["snapshot", "--json", "--min-age", "1s"]);
    tell(&mut results, &finished(SNAPSHOT, snapshot)?)?;

    let trace = Background::start(TRACE, &mut sockleak(&["trace", "--json"]))?;
    trace.wait_until_attached()?;
    let (name, connections) = TRACED;
    let traced = Background::start(
        "traced",
        &mut player(&["run", name, &connections.to_string()]),
    )?;
    traced.wait_for_line("stdout", "pid ")?;
    tell(&mut results, &traced.so_far()?)?;
    tell(&mut results, &trace.terminate()?)?;
    let end = Step {
        name: END.to_owned(),
        code: None,
        stdout: String::new(),
        stderr: String::new(),
    };
    // Closing a serial line waits until all of it is out.
    tell(&mut results, &end)
}

fn sockleak(arguments: &[&str]) -> Command {
    let mut command = Command::new(SOCKLEAK);
    command.args(arguments).env("NO_COLOR", "1");
    command
}

fn player(arguments: &[&str]) -> Command {
    let mut command = Command::new(RIG_PLAYER);
    command
        .args(arguments)
        .env("SOCKLEAK_TESTS_DIR", TESTS)
        .env("CARGO_TARGET_DIR", TARGET);
    command
}

fn tell(results: &mut File, step: &Step) -> Result<()> {
    let mut line = serde_json::to_vec(step).context("write a step as JSON")?;
    line.push(b'\n');
    results.write_all(&line).context("tell the host")
}

/// Asks the kernel (Documentation/admin-guide/sysrq.rst); it takes a moment.
fn switch_off() -> Result<()> {
    fs::write("/proc/sysrq-trigger", "o").context("ask the kernel to switch off")?;
    sleep(Duration::from_secs(10));
    Ok(())
}
