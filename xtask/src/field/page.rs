//! docs/field.md: every case, its true cause, and what came of it.

use std::fs;

use anyhow::{Context as _, Result};

use super::case::Case;
use super::play::Played;
use super::tally::Tally;
use crate::bench::facts::Facts;
use crate::{repo, say};

pub fn publish(results: &[(Case, Vec<Played>)], tally: &Tally, rounds: u32) -> Result<()> {
    let path = repo::root().join("docs/field.md");
    let text = text(results, tally, rounds)?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    say::step(format_args!("wrote {}", repo::shown(&path)));
    Ok(())
}

fn text(results: &[(Case, Vec<Played>)], tally: &Tally, rounds: u32) -> Result<String> {
    let mut text = format!(
        "# Real programs\n\n\
         Programs that nobody wrote for this project, made to leak as their users reported it, beside minimal \
         programs that turn a right answer into a wrong one. The truth of each was established without sockleak, or its notes say what it rests on so far. \
         What the outcomes mean, and how to add a case: [tests/field](../tests/field/README.md). This page is \
         written by `cargo xtask field --rounds {rounds}`.\n\n{}\n\n```text\n{}\n```\n\n\
         | case | software | true cause | sockets | outcome | said (sockets, verdict, confidence, blamed) |\n\
         |---|---|---|---:|---|---|\n",
        Facts::gather()?.line(),
        tally.line(),
    );
    for (case, rounds) in results {
        text.push_str(&row(case, rounds));
    }
    Ok(text)
}

fn row(case: &Case, rounds: &[Played]) -> String {
    let outcomes: Vec<&str> = rounds
        .iter()
        .map(|played| match played {
            Played::Skipped(_) => "skipped",
            Played::Judged(judgement) => judgement.outcome.name(),
        })
        .collect();
    let said = match rounds.last() {
        Some(Played::Skipped(why)) => why.clone(),
        Some(Played::Judged(judgement)) => super::told(judgement),
        None => String::new(),
    };
    let report = match case.report.as_slice() {
        [] => cell(&case.software),
        [first, ..] => format!("[{}]({first})", cell(&case.software)),
    };
    format!(
        "| {} | {report} | {} | {} | {} | {} |\n",
        case.name,
        cell(&case.cause),
        case.truth.size(),
        outcomes.join(" "),
        cell(&said)
    )
}

/// Names of functions may hold what is markup in a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
