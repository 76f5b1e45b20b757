//! `cargo xtask test`: every test this machine can run, the live ones as root, and a list of those
//! it cannot. Cargo's own summary lines come last.

mod cargo_test;
mod machine;
mod node;
mod root;
mod skips;

use std::fs;
use std::iter;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

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
    let rootless = Run {
        what: &["--workspace", "--exclude", "tests"],
        live: None,
    };
    rootless.collect(&args.filter, &skips, results)?;
    let alone = alone()?;
    let alone: Vec<&str> = alone.iter().map(String::as_str).collect();
    for (at_a_time, first, targets) in iter::once((1, &["--lib"][..], &alone[..])).chain(
        TOGETHER
            .iter()
            .map(|(at_a_time, targets)| (*at_a_time, &[][..], *targets)),
    ) {
        let live = Run {
            what: &arguments(first, targets),
            live: Some(at_a_time),
        };
        live.collect(&args.filter, &skips, results)?;
    }
    say::step("clippy of the kernel program");
    if let Err(error) = lint::kernel_clippy() {
        results.trouble.push(error);
    }
    skips.report(&results.ignored)
}

/// Targets of live tests that each judge their own programs alone, and wait most of their time: so many tests at a time.
const TOGETHER: &[(usize, &[&str])] = &[(2, &["functions"]), (3, &["rigs", "verdicts"])];

/// The other targets of live tests.
fn alone() -> Result<Vec<String>> {
    let folder = repo::root().join("tests/tests");
    let mut names = Vec::new();
    for file in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = file
            .with_context(|| format!("list {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.retain(|name| {
        TOGETHER
            .iter()
            .all(|(_, targets)| !targets.contains(&name.as_str()))
    });
    names.sort();
    Ok(names)
}

fn arguments<'a>(first: &[&'a str], targets: &[&'a str]) -> Vec<&'a str> {
    let targets = targets.iter().flat_map(|name| ["--test", name]);
    (["--package", "tests"].into_iter())
        .chain(first.iter().copied())
        .chain(targets)
        .collect()
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    cargo
}
