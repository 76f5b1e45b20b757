//! `cargo xtask bench hooks`: what each kernel program takes, by the kernel's own statistics, beside an empty program on
//! the same hook in the same round. They leave out the way into a program, so they rank programs and are no total.

pub mod account;
mod report;

use anyhow::Result;

use self::account::Account;
use super::facts::Facts;
use super::generator::Generator;
use super::load::Job;
use super::stats::Random;
use super::tool::Kind;
use super::{alone, document};
use crate::say;

#[derive(clap::Args)]
pub struct Args {
    /// Three short rounds, printed and not written to docs
    #[arg(long)]
    quick: bool,
}

/// What a run does in a round.
#[derive(Clone, Copy)]
pub struct Plan {
    pub rounds: u32,
    pub connections: u32,
    pub reads: u32,
}

/// What one arm spent in one round.
#[derive(Clone, Default)]
pub struct Spent {
    pub connections: Account,
    pub reads: Account,
}

#[derive(Clone, Default)]
pub struct Round {
    pub floor: Spent,
    pub watch: Spent,
    pub leaking: Spent,
}

const WATCH: &[&str] = &["watch", "--json", "--duration", "1h"];
const LEAKING: &[&str] = &[
    "watch",
    "--json",
    "--duration",
    "1h",
    "--evidence",
    "leaking",
];

pub fn run(args: &Args) -> Result<()> {
    let plan = if args.quick {
        Plan {
            rounds: 3,
            connections: 3_000,
            reads: 30_000,
        }
    } else {
        Plan {
            rounds: 15,
            connections: 10_000,
            reads: 200_000,
        }
    };
    let facts = Facts::gather()?;
    alone::check()?;
    let mut generator = Generator::start()?;
    let mut random = Random::new(u64::from(std::process::id()));
    let mut rounds = Vec::new();
    for number in 1..=plan.rounds {
        say::step(format_args!("round {number} of {}", plan.rounds));
        let mut round = Round::default();
        let mut arms: [(&str, Kind, &mut Spent); 3] = [
            (
                "hooks-floor",
                Kind::Floor { accept_hook: true },
                &mut round.floor,
            ),
            ("hooks-watch", Kind::Sockleak(WATCH), &mut round.watch),
            ("hooks-leaking", Kind::Sockleak(LEAKING), &mut round.leaking),
        ];
        random.shuffle(&mut arms);
        for (name, kind, spent) in arms {
            *spent = account::spent(name, kind, plan, &mut generator)?;
        }
        rounds.push(round);
    }
    document::publish(
        "hooks",
        &report::section(plan, &facts, &rounds),
        !args.quick,
    )
}

impl Plan {
    fn work(self) -> [Job; 2] {
        [Job::Connections(self.connections), Job::Reads(self.reads)]
    }
}
