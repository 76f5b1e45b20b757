//! `cargo xtask test`: every test this machine can run, the live ones as root, and a list of those
//! it cannot. Cargo's own summary lines come last.

mod cargo_test;
mod machine;
mod node;
mod root;
mod skips;

use std::process::{Command, ExitCode};

use anyhow::Result;

use self::cargo_test::{Results, Run};
pub use self::machine::{Need, provide};
pub use self::root::{AsRoot, as_root, command as root_command, elevated, run_tests_as_root};
use self::skips::Skips;
use crate::{lint, process, repo, say};

/// Run all tests; the live ones need root and ask for it
#[derive(clap::Args)]
pub struct Args {
    /// Run only tests whose name contains one of these
    filter: Vec<String>,
}

pub fn run(args: &Args) -> ExitCode {
    let mut results = Results::default();
    if let Err(error) = everything(args, &mut results) {
        results.trouble.push(error);
    }
    for error in &results.trouble {
        say::failure(error);
    }
    for test in &results.failed {
        say::result(format_args!("failed: {test}"));
    }
    // Nothing may be printed after these: they are what a reader of the log looks for.
    for line in &results.summaries {
        say::result(line);
    }
    if results.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Asks for root and installs what live tests need; says so.
pub fn prepare() -> Result<()> {
    root::announce()?;
    machine::prepare()?;
    node::provide();
    Ok(())
}

fn everything(args: &Args, results: &mut Results) -> Result<()> {
    prepare()?;
    let skips = Skips::start()?;
    say::step("building the release binary and the tests");
    process::run(cargo().args(["build", "--release", "--locked", "--package", "tracer"]))?;
    process::run(cargo().args(["test", "--workspace", "--locked", "--no-run"]))?;
    // Most tests need no root and are faster side by side; live ones share one kernel.
    let side_by_side = Run {
        packages: &["--workspace", "--exclude", "tests"],
        live: false,
    };
    let live = Run {
        packages: &["--package", "tests"],
        live: true,
    };
    for part in [side_by_side, live] {
        part.collect(&args.filter, &skips, results)?;
    }
    say::step("clippy of the kernel program");
    if let Err(error) = lint::kernel_clippy() {
        results.trouble.push(error);
    }
    skips.report(&results.ignored)
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    cargo
}
