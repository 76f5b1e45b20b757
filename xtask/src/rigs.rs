//! `cargo xtask rigs`: every rig and its healthy twin under the real tracer, and the confusion matrix
//! of what is true and what was said. The judging is done by the `rigs` program of the tests.

mod judgement;
mod matrix;
mod page;
mod spread;

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use self::judgement::Judgement;
use self::matrix::Tally;
pub use self::spread::Spread;
use crate::trouble::Trouble;
use crate::{process, repo, say, test};

/// Trace every rig and its healthy twin, print the confusion matrix and write docs/verdicts.md
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    spread: Spread,
    /// Only these rigs; the document is then left alone
    names: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    test::prepare()?;
    build()?;
    let names = chosen(&args.names)?;
    let mut tally = Tally::default();
    let runs = names.len() * args.spread.rounds as usize;
    args.spread.run(&names, trace, |number, name, outcome| {
        let line = tally.add(name, outcome);
        say::step(format_args!("{number}/{runs} {name}: {line}"));
    });
    let text = page::text(&tally, names.len(), args.spread.rounds)?;
    say::result(&text);
    if args.names.is_empty() {
        page::publish(&text)?;
    }
    for trouble in &tally.troubles {
        say::result(trouble);
    }
    if tally.troubles.is_empty() {
        return Ok(());
    }
    Err(Trouble::error(
        format!(
            "{} of {runs} runs were not as they should be",
            tally.wrong_runs
        ),
        "a verdict rule is wrong or missing, a rig does not do what it claims, or the machine was \
         too busy for the rig's timing",
        "see each above; repeat one with `cargo xtask rigs NAME`",
    ))
}

/// As the user who runs this, so that root leaves no files behind.
pub fn build() -> Result<()> {
    say::step("building the release binary and the rigs");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    process::run(cargo.args(["build", "--release", "--locked", "--package", "tracer"]))?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    process::run(cargo.args(["build", "--locked", "--package", "tests", "--bin", "rigs"]))?;
    process::run(program().arg("build").stdout(Stdio::null()))
}

fn program() -> Command {
    Command::new(repo::target().join("debug/rigs"))
}

/// Those that are asked for, or all.
pub fn chosen(wanted: &[String]) -> Result<Vec<String>> {
    let listed = process::read(program().arg("list"))?;
    let known: Vec<String> = listed.lines().map(str::to_owned).collect();
    for name in wanted {
        ensure!(
            known.contains(name),
            "there is no rig {name}; tests/rigs/manifest.json lists them"
        );
    }
    Ok(if wanted.is_empty() {
        known
    } else {
        wanted.to_vec()
    })
}

/// One rig, its twin and a tracer of their own. The rig's failure to leak is an error here.
fn trace(name: &str) -> Result<Judgement> {
    let output = test::elevated(&repo::target().join("debug/rigs"))?
        .args(["trace", name])
        .stdin(Stdio::null())
        .output()
        .context("start the program rigs")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}", output.status, said.trim());
    }
    serde_json::from_slice(&output.stdout).context("read the judgement")
}
