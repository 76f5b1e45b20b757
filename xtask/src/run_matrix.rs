//! `cargo xtask run-matrix`: `sockleak run` on every rig and its healthy twin, round after round. The judging is done by
//! the test `run_rigs`, of which CI runs one of each language.

use std::process::Command;

use anyhow::Result;

use crate::trouble::Trouble;
use crate::{process, repo, rigs, say, test};

/// Let `sockleak run` judge every rig (23 for a leak) and its healthy twin (0)
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    spread: rigs::Spread,
    /// Only these rigs
    names: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    test::prepare()?;
    rigs::build()?;
    let names = rigs::chosen(&args.names)?;
    let mut wrong = 0;
    let runs = names.len() * args.spread.rounds as usize;
    args.spread.run(
        &names,
        |name| process::run(&mut judge(name)?),
        |number, name, judged| {
            wrong += usize::from(judged.is_err());
            let line = if judged.is_ok() { "right" } else { "WRONG" };
            say::step(format_args!("{number}/{runs} {name}: {line}"));
        },
    );
    say::result(format_args!(
        "{runs} pairs of a leak and its twin, {} rounds: {wrong} wrong",
        args.spread.rounds
    ));
    if wrong == 0 {
        return Ok(());
    }
    Err(Trouble::error(
        format!("{wrong} of {runs} pairs were not judged as they should be"),
        "a rule is wrong, or the machine was too busy for the rig's timing",
        "see each above; repeat one with `cargo xtask run-matrix NAME`",
    ))
}

fn judge(name: &str) -> Result<Command> {
    let mut test = Command::new("cargo");
    test.current_dir(repo::root()).args([
        "test",
        "--quiet",
        "--locked",
        "--package",
        "tests",
        "--test",
        "run_rigs",
    ]);
    test::run_tests_as_root(&mut test)?;
    test.env("SOCKLEAK_RUN_MATRIX", name);
    Ok(test)
}
