//! `cargo xtask field`: real programs that leak as their users reported it, watched by sockleak, and its
//! answers weighed against the truth. Not part of the tests: it installs much and takes half an hour.

mod case;
mod judge;
mod kept;
mod needs;
mod page;
mod play;
mod processes;
mod said;
mod sockets;
mod tally;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use self::case::Case;
use self::judge::Judgement;
use self::play::Played;
use self::tally::Tally;
use crate::trouble::Trouble;
use crate::{process, repo, say};

/// Watch real programs that leak, and weigh the answers against the truth
#[derive(clap::Args)]
pub struct Args {
    /// Only these cases, comma separated; NAME means all variants of NAME
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// List the cases and end
    #[arg(long)]
    list: bool,
    /// Only install what the cases need
    #[arg(long)]
    install: bool,
    /// Play each case this many times
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The program to judge; default: the release build of this checkout
    #[arg(long)]
    sockleak: Option<PathBuf>,
    /// Write all judgements to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Play nothing: write the page from such files of earlier plays, which together have every case
    #[arg(long, value_delimiter = ',')]
    join: Vec<PathBuf>,
}

pub fn run(args: &Args) -> Result<()> {
    let cases = chosen(case::load()?, &args.only)?;
    if args.list {
        for case in &cases {
            say::result(format_args!(
                "{:28}{:46}{}",
                case.name, case.software, case.cause
            ));
        }
        return Ok(());
    }
    if !args.join.is_empty() {
        let (results, tally) = kept::read(cases, &args.join)?;
        say::result(tally.line());
        page::publish(&results, &tally, args.rounds)?;
        return none_is_wrong(&tally);
    }
    ensure_root()?;
    processes::adopt()?;
    if args.install {
        install(&cases);
        return Ok(());
    }
    let sockleak = match &args.sockleak {
        Some(path) => path
            .canonicalize()
            .with_context(|| format!("find {}", path.display()))?,
        None => build()?,
    };
    let mut results: Vec<(Case, Vec<Played>)> =
        cases.into_iter().map(|case| (case, Vec::new())).collect();
    let mut tally = Tally::default();
    for _ in 0..args.rounds {
        for (case, played) in &mut results {
            let now = play::play(case, &sockleak);
            say::result(line(case, &now));
            tally.count(&now);
            played.push(now);
        }
    }
    say::result(tally.line());
    if let Some(path) = &args.json {
        kept::write(path, &results)?;
    }
    if args.only.is_empty() {
        page::publish(&results, &tally, args.rounds)?;
    }
    none_is_wrong(&tally)
}

fn none_is_wrong(tally: &Tally) -> Result<()> {
    ensure!(tally.wrong() == 0, "{} answers are wrong", tally.wrong());
    Ok(())
}

fn chosen(cases: Vec<Case>, wanted: &[String]) -> Result<Vec<Case>> {
    let is =
        |case: &Case, name: &str| case.name == name || case.name.split(':').next() == Some(name);
    for name in wanted {
        ensure!(
            cases.iter().any(|case| is(case, name)),
            "there is no case {name}; `cargo xtask field --list` shows them"
        );
    }
    let keeps = |case: &Case| wanted.is_empty() || wanted.iter().any(|name| is(case, name));
    Ok(cases.into_iter().filter(keeps).collect())
}

fn ensure_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Trouble::error(
        "the field cases need root",
        "they install packages and trace with eBPF",
        "run `sudo -E env PATH=\"$PATH\" cargo xtask field`",
    ))
}

fn install(cases: &[Case]) {
    for case in cases {
        match needs::prepare(case) {
            Ok(_) => say::result(format_args!("ok      {}", case.name)),
            Err(error) => say::result(format_args!("SKIP    {:28}{error:#}", case.name)),
        }
    }
}

fn build() -> Result<PathBuf> {
    say::step("building the release binary");
    let mut cargo = Command::new("cargo");
    cargo.current_dir(repo::root());
    process::run(cargo.args(["build", "--release", "--locked", "--package", "tracer"]))?;
    Ok(repo::target().join("release/sockleak"))
}

/// `RIGHT   redis    8 owner-blocked/high debugCommand`
fn line(case: &Case, played: &Played) -> String {
    match played {
        Played::Skipped(why) => format!("SKIP    {:28}{why}", case.name),
        Played::Judged(judgement) => {
            let why = match judgement.why.as_slice() {
                [] => String::new(),
                why => format!("  [{}]", why.join("; ")),
            };
            let outcome = judgement.outcome.name();
            format!("{outcome:8}{:28}{}{why}", case.name, told(judgement))
        }
    }
}

fn told(judgement: &Judgement) -> String {
    const SHOWN: usize = 4;
    const NAME: usize = 60;
    let findings = judgement.findings.iter().take(SHOWN).map(|finding| {
        let info = if finding.severity == "info" {
            " (info)"
        } else {
            ""
        };
        let blame: String = finding.blame.chars().take(NAME).collect();
        format!(
            "{} {}/{}{info} {blame}",
            finding.sockets, finding.verdict, finding.confidence
        )
    });
    let mut told = findings.collect::<Vec<_>>().join("; ");
    if told.is_empty() {
        "nothing is stuck".clone_into(&mut told);
    }
    match judgement.findings.len() {
        count if count > SHOWN => format!("{told}; and {} more", count - SHOWN),
        _ => told,
    }
}
