//! docs/verdicts.md: the matrix stands between two marks; what people wrote around it is left alone.

use std::fs;

use anyhow::{Context as _, Result};

use super::matrix::Tally;
use crate::bench::{document, facts::Facts};
use crate::trouble::Trouble;
use crate::{repo, say};

const BEGIN: &str = "<!-- begin: cargo xtask rigs -->";
const END: &str = "<!-- end: cargo xtask rigs -->";

pub fn text(tally: &Tally, rigs: usize, rounds: u32) -> Result<String> {
    let blame = &tally.blame;
    let runs = rigs * rounds as usize;
    let outcome = match tally.wrong_runs {
        0 => "Every verdict, every count and every blamed function was right, and no healthy twin was accused.".to_owned(),
        1 => "One run was not as it should be.".to_owned(),
        wrong => format!("{wrong} runs were not as they should be."),
    };
    Ok(format!(
        "{}\n\n{rigs} rigs, each with its healthy twin under one `sockleak watch`, {rounds} time{}: {runs} runs. \
         Rows are what is true, columns what was said; column 1 is the verdict of row 1. {outcome}\n\n{}\n\
         The blamed function was the right one in {} findings and another one in {}; in {} nobody was \
         blamed, where the interpreter or the runtime hides the frames.",
        Facts::gather()?.line(),
        if rounds == 1 { "" } else { "s" },
        tally.table(),
        blame.right,
        blame.wrong,
        blame.nobody,
    ))
}

pub fn publish(text: &str) -> Result<()> {
    let path = repo::root().join("docs/verdicts.md");
    let before = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let Some(after) = document::between(&before, BEGIN, END, text) else {
        return Err(Trouble::error(
            format!("{} has no place for the matrix", repo::shown(&path)),
            "the marks were taken out by hand",
            format!("put the lines `{BEGIN}` and `{END}` where it should stand"),
        ));
    };
    fs::write(&path, after).with_context(|| format!("write {}", path.display()))?;
    say::step(format_args!("wrote {}", repo::shown(&path)));
    Ok(())
}
