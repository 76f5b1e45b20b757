//! Checks that need more than a toolchain: the licenses and sources of all dependencies, and whether the other machine
//! builds. Where what they need is missing they say so and check nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::cargo;
use crate::{process, repo, say};

const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// Some dependencies are in part C.
const COMPILER: &str = "aarch64-linux-gnu-gcc";

/// Advisories are left out: their list has to be fetched.
pub fn dependencies() -> Result<()> {
    if !is_on_path("cargo-deny") {
        skipped("cargo-deny is not installed (cargo install --locked cargo-deny)");
        return Ok(());
    }
    for manifest in ["Cargo.toml", "tracer-ebpf/Cargo.toml"] {
        let mut deny = cargo();
        deny.args(["deny", "--offline", "--log-level=error", "--manifest-path"]);
        deny.arg(repo::root().join(manifest));
        process::run(deny.args(["check", "bans", "licenses", "sources"]))?;
    }
    Ok(())
}

/// The tracer for aarch64, which nothing here can run.
pub fn aarch64() -> Result<()> {
    let sysroot = process::read(Command::new("rustc").args(["--print", "sysroot"]))?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib").join(AARCH64);
    if !library.is_dir() {
        skipped(&format!(
            "rustup target add {AARCH64} would make it possible"
        ));
        return Ok(());
    }
    if !is_on_path(COMPILER) {
        skipped(&format!(
            "{COMPILER} is missing (apt install gcc-aarch64-linux-gnu)"
        ));
        return Ok(());
    }
    let target = format!("--target={AARCH64}");
    let mut check = cargo();
    // The walks of stacks by rows are for x86-64 alone.
    check.env("RUSTFLAGS", "-Adead_code -Aunused_imports");
    process::run(check.args(["check", "--quiet", "--locked", "--package=tracer", &target]))
}

fn skipped(why: &str) {
    say::result(format_args!("skipped: {why}"));
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    folders.any(|folder: PathBuf| folder.join(program).is_file())
}
