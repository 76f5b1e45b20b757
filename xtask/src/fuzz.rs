//! `cargo xtask fuzz`: the readers of what strangers write, over damaged inputs, for a bounded and repeatable number of
//! executions; stable Rust, nothing to install. `tracer/src/damaged.rs` has the how, `tracer/corpus` the inputs.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{repo, say};

/// In the names of the tests that do it.
const TESTS: [&str; 2] = ["damaged", "memory_full_of_anything"];
const FACTOR: &str = "SOCKLEAK_FUZZ_FACTOR";

/// Run the readers of programs, lists, dumps, memory, requests and files over damaged inputs
#[derive(clap::Args)]
pub struct Args {
    /// So many times as many executions as a test run makes; the first ones are always the same
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    factor: u32,
}

pub fn run(args: &Args) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(repo::root())
        .args([
            "test",
            "--quiet",
            "--locked",
            "--package",
            "tracer",
            "--lib",
        ])
        .arg("--")
        .args(TESTS)
        .arg("--nocapture")
        .env(FACTOR, args.factor.to_string())
        .stdin(Stdio::null());
    let done = cargo.output().context("start cargo test")?;
    let said = String::from_utf8_lossy(&done.stderr) + String::from_utf8_lossy(&done.stdout);
    let mut all = 0_u64;
    for line in said.lines().filter_map(|line| line.split("fuzz ").nth(1)) {
        say::result(format_args!("  {line}"));
        let mut words = line.split_whitespace();
        all += words
            .nth(1)
            .and_then(|number| number.parse::<u64>().ok())
            .unwrap_or(0);
    }
    if !done.status.success() {
        bail!("a reader failed:\n{said}");
    }
    if all == 0 {
        bail!("nothing was executed:\n{said}");
    }
    say::result(format_args!("{all} executions, none failed"));
    Ok(())
}
