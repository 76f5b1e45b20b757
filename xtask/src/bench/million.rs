//! `cargo xtask bench million`: the tracker and the report with made-up stuck sockets, more than a test machine can hold.
//! The measurement itself is a benchmark of the tracer (`tracer/benches/million.rs`), for only that reaches its middle.

use std::process::Command;

use anyhow::{Result, bail};

use super::document;
use super::facts::Facts;
use crate::{process, repo, say};

#[derive(clap::Args)]
pub struct Args {
    /// Print the figures, and write nothing to docs
    #[arg(long)]
    quick: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let facts = Facts::gather()?;
    say::step(
        "building the measurement, then 10,000, 100,000 and 1,000,000 sockets, each in a process of its own",
    );
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root()).args([
        "bench",
        "--locked",
        "--quiet",
        "--package=tracer",
        "--bench=million",
    ]);
    let printed = process::read(&mut cargo)?;
    let table: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    if table.len() < 3 {
        bail!("the measurement printed no table: {printed:?}");
    }
    document::publish("million", &section(&facts, &table.join("\n")), !args.quick)
}

fn section(facts: &Facts, table: &str) -> String {
    format!(
        "## A million stuck sockets, made up\n\n{}\n\nRepeat with `cargo xtask bench million`. The sockets lie at 20 places in 5 \
         processes and are given to the tracker as the kernel's table and iterators would give them; then the report is \
         made, with 5 sockets listed a place, and written. Each size is measured in a process of its own. The command fails \
         if the report has more fields with more sockets, or if ten times the sockets take more than 2.5 times as long \
         each: what is linear meets colder caches.\n\n{table}\n",
        facts.line()
    )
}
