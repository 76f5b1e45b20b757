//! `cargo xtask bench`: what tracing costs on this machine, and how the tool behaves with 80,000
//! stuck sockets. Full runs write docs/performance.md; quick ones only print.

mod alone;
mod churn;
mod cpu;
pub mod document;
pub mod facts;
mod floor;
mod generator;
mod hooks;
mod load;
mod million;
pub mod proc;
mod runs;
mod runtimes;
mod scale;
mod seen;
mod stats;
mod tool;

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::trouble::Trouble;
use crate::{process, repo, say};

/// Measure costs and write docs/performance.md; needs root and a quiet machine
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// CPU time that tracing adds to a connection that is closed in time
    Churn(churn::Args),
    /// What each kernel program takes beside an empty one, by the kernel's statistics
    Hooks(hooks::Args),
    /// CPU time that `sockleak run` adds to a published crate's network tests
    Run(runs::Args),
    /// What following a runtime's own frames adds to a read
    Runtimes(runtimes::Args),
    /// Time and memory with 80,000 stuck sockets
    Scale(scale::Args),
    /// The tracker and the report with a million made-up stuck sockets; needs no root
    Million(million::Args),
    #[command(hide = true)]
    LoadGenerator,
    #[command(hide = true)]
    FloorHolder(floor::Args),
    #[command(hide = true)]
    StuckServer(scale::stuck::ServerArgs),
    #[command(hide = true)]
    StuckClient(scale::stuck::ClientArgs),
}

pub fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Churn(args) => {
            let _lock = prepare()?;
            churn::run(args)
        }
        What::Hooks(args) => {
            let _lock = prepare()?;
            hooks::run(args)
        }
        What::Run(args) => {
            let _lock = prepare()?;
            runs::run(args)
        }
        What::Runtimes(args) => {
            let _lock = prepare()?;
            runtimes::run(args)
        }
        What::Scale(args) => {
            let _lock = prepare()?;
            scale::run(args)
        }
        What::Million(args) => {
            fs::create_dir_all(folder()).context("create the folder for raw figures")?;
            million::run(args)
        }
        What::LoadGenerator => load::serve(),
        What::FloorHolder(args) => floor::hold(args),
        What::StuckServer(args) => scale::stuck::serve(args),
        What::StuckClient(args) => scale::stuck::connect(args),
    }
}

/// Where raw figures and the tools' output go.
pub fn folder() -> PathBuf {
    repo::target().join("bench")
}

/// Comes back only in a release build that can load the kernel object, with the machine to itself.
fn prepare() -> Result<File> {
    if !floor::IS_BUILT_IN || cfg!(debug_assertions) {
        return Err(become_release_build());
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Trouble::error(
            "benchmarks load programs into the kernel, which needs root",
            "this command runs as a normal user",
            "build as yourself, then run the same command through sudo: `sudo env PATH=\"$PATH\" \
             cargo xtask bench …`",
        ));
    }
    fs::create_dir_all(folder()).context("create the folder for raw figures")?;
    let path = folder().join("lock");
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    if file.try_lock().is_err() {
        return Err(Trouble::error(
            "another benchmark is running",
            "a second `cargo xtask bench` would disturb both",
            "wait for it to end",
        ));
    }
    Ok(file)
}

/// xtask itself must build when the loader does not, so the loader is a feature; and a debug build
/// would charge its own slowness to every connection.
fn become_release_build() -> anyhow::Error {
    say::step("building the release binaries to measure");
    let mut build = Command::new("cargo");
    build.current_dir(repo::root()).args([
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package=tracer",
        "--package=xtask",
        "--features=xtask/floor",
    ]);
    if let Err(error) = process::run(&mut build) {
        return error;
    }
    let xtask = repo::target().join("release/xtask");
    // Only comes back when it could not start.
    let error = Command::new(&xtask).args(env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!("start {}", repo::shown(&xtask)))
}

/// The binary under test, of the same build.
pub fn sockleak() -> PathBuf {
    repo::target().join("release/sockleak")
}
