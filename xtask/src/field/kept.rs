//! Judgements in files: for other programs, and to make one page of several plays.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::case::Case;
use super::judge::Judgement;
use super::play::Played;
use super::tally::Tally;

type Results = Vec<(Case, Vec<Played>)>;

#[derive(Serialize, Deserialize)]
struct Kept {
    case: String,
    #[serde(flatten)]
    played: Outcome,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Judged { judgement: Judgement },
    Skipped { outcome: String, why: Vec<String> },
}

pub fn write(path: &Path, results: &[(Case, Vec<Played>)]) -> Result<()> {
    let outcome = |played: &Played| match played {
        Played::Judged(judgement) => Outcome::Judged {
            judgement: judgement.clone(),
        },
        Played::Skipped(why) => Outcome::Skipped {
            outcome: "SKIP".to_owned(),
            why: vec![why.clone()],
        },
    };
    let all: Vec<Kept> = results
        .iter()
        .flat_map(|(case, rounds)| rounds.iter().map(move |played| (case, played)))
        .map(|(case, played)| Kept {
            case: case.name.clone(),
            played: outcome(played),
        })
        .collect();
    let text = serde_json::to_string_pretty(&all).context("write the judgements")?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// What these files have of the cases: something of each.
pub fn read(cases: Vec<Case>, paths: &[PathBuf]) -> Result<(Results, Tally)> {
    let mut kept: Vec<Kept> = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let more: Vec<Kept> = serde_json::from_str(&text)
            .with_context(|| format!("{} has no judgements of `--json`", path.display()))?;
        kept.extend(more);
    }
    let mut tally = Tally::default();
    let mut results = Vec::new();
    for case in cases {
        let (own, others) = kept
            .into_iter()
            .partition::<Vec<_>, _>(|one| one.case == case.name);
        kept = others;
        ensure!(!own.is_empty(), "none of the files has {}", case.name);
        let played = own.into_iter().map(|one| match one.played {
            Outcome::Judged { judgement } => Played::Judged(judgement),
            Outcome::Skipped { why, .. } => Played::Skipped(why.join("; ")),
        });
        let played: Vec<Played> = played.collect();
        for one in &played {
            tally.count(one);
        }
        results.push((case, played));
    }
    Ok((results, tally))
}
