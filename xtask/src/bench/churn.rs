//! `cargo xtask bench churn`: all arms in every round, in random order, so that what drifts on the
//! machine hits all of them alike and each can be compared with `none` of its own round.

mod arms;
mod figures;
mod goals;
mod report;
mod round;

pub use round::WARM_UP;

use anyhow::{Result, bail};

use self::arms::{ARMS, Arm};
use self::round::{Plan, Round};
use super::facts::Facts;
use super::generator::Generator;
use super::stats::Random;
use super::{alone, document};
use crate::trouble::Trouble;
use crate::{repo, say};

#[derive(clap::Args)]
pub struct Args {
    /// Few short rounds, printed and not written to docs: enough to see that everything works
    #[arg(long)]
    quick: bool,
    /// Rounds; each measures every arm once [default: 20, quick: 5]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Connections an arm makes in a round [default: 30000, quick: 10000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    connections: Option<u32>,
    /// Only these arms, and `none`; nothing is written to docs then
    #[arg(long, value_name = "ARM", value_delimiter = ',')]
    only: Vec<String>,
}

impl Args {
    fn plan(&self) -> Plan {
        let (rounds, connections, reads, exchanges) = if self.quick {
            (5, 10_000, 300_000, 50_000)
        } else {
            (20, 30_000, 1_000_000, 100_000)
        };
        Plan {
            rounds: self.rounds.unwrap_or(rounds),
            connections: self.connections.unwrap_or(connections),
            reads,
            exchanges,
        }
    }

    fn arms(&self) -> Result<Vec<&'static Arm>> {
        if let Some(unknown) = self
            .only
            .iter()
            .find(|name| !ARMS.iter().any(|arm| arm.name == **name))
        {
            let names: Vec<&str> = ARMS.iter().map(|arm| arm.name).collect();
            bail!(
                "there is no arm {unknown}; the arms are {}",
                names.join(", ")
            );
        }
        Ok(ARMS
            .iter()
            .filter(|arm| {
                self.only.is_empty()
                    || arm.name == arms::NONE
                    || self.only.iter().any(|name| name == arm.name)
            })
            .collect())
    }
}

/// Percent of the CPU time that may go elsewhere before the figures are about something else.
const QUIET: f64 = 5.0;

pub fn run(args: &Args) -> Result<()> {
    let plan = args.plan();
    let mut arms = args.arms()?;
    let facts = Facts::gather()?;
    alone::check()?;
    let mut generator = Generator::start()?;
    let mut random = Random::new(u64::from(std::process::id()));
    let mut rounds: Vec<Round> = Vec::new();
    for number in 1..=plan.rounds {
        random.shuffle(&mut arms);
        let mut round = Round::default();
        for arm in &arms {
            say::step(format_args!(
                "round {number} of {}: {}",
                plan.rounds, arm.name
            ));
            round.insert(arm.name, round::measure(arm, &plan, &mut generator)?);
        }
        rounds.push(round);
        // After every round, so that an interrupted run leaves what it measured.
        document::keep_raw("churn.csv", &figures::raw(&rounds))?;
    }
    let text = report::section(&plan, &facts, &rounds);
    let elsewhere = figures::elsewhere(&rounds).unwrap_or_default();
    let is_quiet = elsewhere <= QUIET;
    document::publish(
        "churn",
        &text,
        !args.quick && args.only.is_empty() && is_quiet,
    )?;
    say::step(format_args!(
        "raw figures: {}",
        repo::shown(&super::folder().join("churn.csv"))
    ));
    if !args.quick && !is_quiet {
        return Err(Trouble::error(
            format!(
                "{elsewhere:.0} % of the CPU time went to programs that are not part of the \
                 measurement; docs/performance.md was left alone"
            ),
            "this machine has other work to do",
            "run it again on a quiet machine",
        ));
    }
    Ok(())
}
