//! `cargo xtask lint`: everything that can be said about the sources without running them. Every
//! check runs even when an earlier one failed, so that one run shows all there is to mend.

mod optional;
mod sizes;
mod traces;

use std::process::Command;

use anyhow::{Result, bail};

use crate::{layers, process, repo, say};

/// Formatting, clippy, layers, file sizes, and traces of the machine a file was written on
#[derive(clap::Args)]
pub struct Args {}

type Check = fn() -> Result<()>;

const CHECKS: &[(&str, Check)] = &[
    ("format", format),
    ("format of the kernel program", || {
        kernel_cargo(&["fmt", "--check"])
    }),
    ("layers", || layers::run(&layers::Args {})),
    ("file sizes", sizes::check),
    ("traces of a machine", traces::check),
    ("clippy", clippy),
    ("clippy of the kernel program", kernel_clippy),
    (
        "licenses and sources of dependencies",
        optional::dependencies,
    ),
    ("aarch64", optional::aarch64),
];

pub fn run(_: &Args) -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        say::step(name);
        if let Err(error) = check() {
            say::failure(&error);
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    say::result(format_args!("lint: {} checks passed", CHECKS.len()));
    Ok(())
}

/// The kernel program compiles on the host too, where clippy and editors can read it.
pub fn kernel_clippy() -> Result<()> {
    let target = repo::target().join("ebpf-host");
    let target = format!("--target-dir={}", target.display());
    kernel_cargo(&[
        "clippy", "--locked", "--quiet", &target, "--bins", "--", "-D", "warnings",
    ])
}

fn format() -> Result<()> {
    process::run(cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<()> {
    let mut clippy = cargo();
    clippy.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--features=xtask/floor",
        "--locked",
        "--quiet",
    ]);
    process::run(clippy.args(["--", "-D", "warnings"]))
}

fn kernel_cargo(args: &[&str]) -> Result<()> {
    process::run(
        cargo()
            .current_dir(repo::root().join("tracer-ebpf"))
            .args(args),
    )
}

fn cargo() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    cargo
}
