//! `cargo xtask bench scale`: how long it takes to see 80,000 stuck sockets, beside `ss`, and what
//! memory it takes to keep watching them.

mod memory;
mod report;
mod run;
pub mod stuck;

use anyhow::Result;

use self::run::{Figures, What};
use self::stuck::Stuck;
use super::facts::Facts;
use super::stats::Random;
use super::{alone, document, tool};
use crate::say;

#[derive(clap::Args)]
pub struct Args {
    /// Few sockets and repetitions, printed and not written to docs
    #[arg(long)]
    quick: bool,
    /// Stuck sockets [default: 80000, quick: 8000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    sockets: Option<u32>,
    /// Repetitions [default: 9, quick: 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: Option<u32>,
}

pub fn run(args: &Args) -> Result<()> {
    let (sockets, repetitions) = if args.quick { (8_000, 3) } else { (80_000, 9) };
    let sockets = args.sockets.unwrap_or(sockets);
    let repetitions = args.repetitions.unwrap_or(repetitions);
    let facts = Facts::gather()?;
    alone::check()?;
    tool::find("ss")?;
    let mut figures = Figures::default();
    for number in 1..=repetitions {
        say::step(format_args!(
            "watch without sockets: {number} of {repetitions}"
        ));
        run::watch(0, &mut figures.empty)?;
    }
    let stuck = see_them_come(sockets, &mut figures)?;
    measure_all(repetitions, sockets, &mut figures)?;
    say::step("closing the sockets");
    drop(stuck);
    let text = report::section(sockets, repetitions, &facts, &figures);
    document::keep_raw("scale.csv", &report::raw(&figures))?;
    document::publish("scale", &text, !args.quick)
}

/// The sockets get stuck under the eyes of a `watch`, which costs it more than finding them does.
fn see_them_come(sockets: u32, figures: &mut Figures) -> Result<Stuck> {
    say::step(format_args!("making {sockets} stuck sockets under `watch`"));
    let watch = run::Watch::start()?;
    let stuck = Stuck::make(sockets)?;
    watch.end(sockets, &mut figures.live)?;
    Ok(stuck)
}

fn measure_all(repetitions: u32, sockets: u32, figures: &mut Figures) -> Result<()> {
    let mut random = Random::new(u64::from(std::process::id()));
    let mut order = What::ALL.to_vec();
    for number in 1..=repetitions {
        random.shuffle(&mut order);
        for what in &order {
            say::step(format_args!("{number} of {repetitions}: {}", what.shown()));
            run::measure(*what, sockets, figures)?;
        }
    }
    Ok(())
}
