//! `cargo xtask bench run`: what `sockleak run` adds to the CPU time of a published crate's own network tests, everything
//! included that it starts: itself, the tracer, its programs in the kernel. The compiler is not part of it.

mod cgroup;
mod suite;

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use self::cgroup::Cgroup;
use self::suite::Suite;
use super::document::grouped;
use super::facts::Facts;
use super::stats::{Estimate, Random, Verdict, median};
use super::{alone, document, sockleak};
use crate::say;

#[derive(clap::Args)]
pub struct Args {
    /// Three pairs of a short run, printed and not written to docs
    #[arg(long)]
    quick: bool,
}

/// Most that may be added.
const GOAL_PERCENT: f64 = 3.0;
const CONNECTIONS: u64 = 2_000;

/// CPU time of one run of the suite, in seconds.
struct Pair {
    without: f64,
    with: f64,
    /// Of `sockleak run -- true`.
    nothing: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let pairs = if args.quick { 3 } else { 15 };
    let facts = Facts::gather()?;
    let suite = Suite::build()?;
    let once = suite.connections_of_a_pass()?;
    ensure!(once > 0, "the tests of {} make no connection", suite.name);
    let passes = CONNECTIONS.div_ceil(once);
    let script = suite.script(passes);
    alone::check()?;
    let mut random = Random::new(u64::from(std::process::id()));
    let mut measured = Vec::new();
    for number in 1..=pairs {
        say::step(format_args!("pair {number} of {pairs}"));
        let mut arms = [false, true];
        random.shuffle(&mut arms);
        let mut pair = Pair {
            without: 0.0,
            with: 0.0,
            nothing: spent("true", true)?,
        };
        for traced in arms {
            let spent = spent(&script, traced)?;
            if traced {
                pair.with = spent;
            } else {
                pair.without = spent;
            }
        }
        say::step(format_args!(
            "without {:.2} s, with {:.2} s",
            pair.without, pair.with
        ));
        measured.push(pair);
    }
    let text = section(&facts, &suite, passes, passes * once, &measured)?;
    document::publish("run", &text, !args.quick)
}

/// CPU seconds of all that the run starts, until the last of it has ended.
fn spent(script: &str, traced: bool) -> Result<f64> {
    let cgroup = Cgroup::make()?;
    let mut command = if traced {
        let mut command = Command::new(sockleak());
        command.args(["run", "--", "sh", "-c", script]);
        command
    } else {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let status = cgroup.run(&command)?;
    ensure!(status.success(), "the tests ended with {status}");
    cgroup.spent()
}

fn section(
    facts: &Facts,
    suite: &Suite,
    passes: u64,
    connections: u64,
    pairs: &[Pair],
) -> Result<String> {
    let without: Vec<f64> = pairs.iter().map(|pair| pair.without).collect();
    let added: Vec<f64> = pairs
        .iter()
        .map(|pair| (pair.with - pair.without) / pair.without * 100.0)
        .collect();
    let seconds: Vec<f64> = pairs.iter().map(|pair| pair.with - pair.without).collect();
    let nothing: Vec<f64> = pairs.iter().map(|pair| pair.nothing).collect();
    let added = Estimate::of(&added).context("no pair was measured")?;
    let seconds = Estimate::of(&seconds).context("no pair was measured")?;
    let outcome = match added.against(GOAL_PERCENT) {
        Verdict::Met => "**met**".to_owned(),
        Verdict::Missed => format!("**missed** by {:.1} %", added.median - GOAL_PERCENT),
        Verdict::Open { median_meets: true } => {
            "met by the median; the interval reaches beyond".to_owned()
        }
        Verdict::Open {
            median_meets: false,
        } => "missed by the median; the interval reaches the goal".to_owned(),
    };
    let mut text = String::new();
    let _ = writeln!(
        text,
        "## `sockleak run` in front of a test suite\n\n{}\n",
        facts.line()
    );
    let _ = writeln!(
        text,
        "Repeat with `cargo xtask bench run` as root on a quiet machine. The network tests of {} ({} programs, built before), {} times \
         over: {} connections or more a run, {} pairs of a run without and one with, in random order. CPU time of \
         everything that was started, the tracer and its programs in the kernel included, until the last process of it had ended \
         (a cgroup's `cpu.stat`).\n",
        suite.name,
        suite.programs(),
        passes,
        grouped(connections),
        pairs.len(),
    );
    let _ = writeln!(
        text,
        "Without: {:.2} s (median). Added: {:.2} s (95 % interval {:.2} to {:.2} s), **{:.1} %** ({:.1} to {:.1} %). Goal: at most \
         {GOAL_PERCENT:.0} %: {outcome}. `sockleak run -- true` alone takes {:.2} s: the rest grows with the tests, this does not.",
        median(&without).unwrap_or_default(),
        seconds.median,
        seconds.low,
        seconds.high,
        added.median,
        added.low,
        added.high,
        median(&nothing).unwrap_or_default(),
    );
    Ok(text)
}
