//! `cargo xtask demo`: a small service of ours that leaks, real clients, the real tracer on this
//! kernel, and at the end a check that the report names the leaking function, file and line.

mod clients;
mod report;
mod service;
mod tracer;

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use self::report::Siblings;
use self::service::Service;
use self::tracer::Tracer;
use crate::trouble::Trouble;
use crate::{repo, say};

/// Trace a leaking service on this machine and check that the report names its function
#[derive(clap::Args)]
pub struct Args {}

/// Enough for a growth rate, few enough to be over well before the tracer's time is.
const CLIENTS: usize = 20;
const EVERY: Duration = Duration::from_millis(200);
/// How often a build that prints nothing is said to be alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub fn run(_: &Args) -> Result<()> {
    build()?;
    let program = service::compile()?;
    tracer::become_root()?;
    let service = Service::start(&program, CLIENTS)?;
    say::step(format_args!(
        "a leaking service runs: pid {}, 127.0.0.1:{}, source {}",
        service.pid(),
        service.port(),
        service::SOURCE
    ));
    let mut tracer = Tracer::start(service.port())?;
    tracer.wait_until_attached()?;
    if tracer.has_ended()? {
        tracer.finish()?;
        bail!("sockleak ended before the first client came");
    }
    say::step(format_args!(
        "{CLIENTS} clients connect, ask, take the answer and hang up, and the service forgets to \
         close; {CLIENTS} health checks in between it does close"
    ));
    for _ in 0..CLIENTS {
        if tracer.has_ended()? {
            break;
        }
        clients::visit(service.port(), clients::PAGE)?;
        clients::visit(service.port(), clients::HEALTH_CHECK)?;
        sleep(EVERY);
    }
    let told = tracer.finish()?;
    let place = report::blamed(&told)?;
    say::step(format_args!(
        "the report names {} at {}:{}, where the source has",
        report::FUNCTION,
        place.file,
        place.line
    ));
    say::result(format_args!("    {}", place.code));
    match report::check_siblings(&told)? {
        Siblings::Told => say::step(format_args!(
            "and that the health checks, accepted at the same place, are closed in {}",
            report::CLOSES
        )),
        Siblings::NotSeenHere => say::step(
            "and that this host does not show which code accepts a connection, so nothing is said of the \
             health checks, which are closed",
        ),
    }
    say::step("demo passed; to look for leaks of your own: sudo target/debug/sockleak");
    Ok(())
}

/// Without optimisation: that takes a third of the time, and xtask itself needs the same dependencies.
/// The last step is silent for a while, so it is said that it goes on.
fn build() -> Result<()> {
    say::step("building sockleak; the first time this takes a minute or two");
    let began = Instant::now();
    let mut cargo = Command::new("cargo")
        .args(["build", "--locked", "--package", "tracer"])
        .current_dir(repo::root())
        .spawn()
        .context("start cargo build")?;
    let mut said = began;
    let status = loop {
        if let Some(status) = cargo.try_wait().context("wait for cargo build")? {
            break status;
        }
        if said.elapsed() >= HEARTBEAT {
            said = Instant::now();
            say::step(format_args!(
                "still building, {} s so far",
                began.elapsed().as_secs()
            ));
        }
        sleep(Duration::from_millis(100));
    };
    if status.success() {
        return Ok(());
    }
    Err(Trouble::error(
        format!("cargo build ended with {status}"),
        "see cargo's own message above",
        "mend that first; CONTRIBUTING.md lists what a build needs",
    ))
}
