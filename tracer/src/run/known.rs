//! Reads what the user already knows: suppressions and the baseline.

use std::fs;
use std::path::Path;

use jiff::Zoned;

use super::baseline::Baseline;
use super::judge::Judge;
use super::suppress::Suppressions;
use crate::exit::{Explained, file_error};
use crate::model::untrusted::Untrusted;
use crate::options::Run;

pub(super) fn judge(run: &Run) -> anyhow::Result<Judge<'_>> {
    let today = Zoned::now().date();
    let suppressions = match &run.known.suppressions {
        Some(path) => Suppressions::parse(&text(path)?, today).map_err(|wrong| {
            unusable(
                "suppressions",
                path,
                &wrong,
                "docs/ci.md shows what such a file looks like",
            )
        })?,
        None => Suppressions::default(),
    };
    let baseline = match &run.known.baseline {
        Some(path) => Some(Baseline::parse(&text(path)?).map_err(|wrong| {
            unusable(
                "baseline",
                path,
                &wrong,
                "write it again with --write-baseline",
            )
        })?),
        None => None,
    };
    Ok(Judge {
        run,
        suppressions,
        baseline,
    })
}

fn text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).map_err(|error| file_error("read", path, error))
}

fn unusable(what: &str, path: &Path, wrong: &str, fix: &str) -> anyhow::Error {
    let path = Untrusted::from_bytes(path.as_os_str().as_encoded_bytes());
    let wrong = Untrusted::new(wrong.trim().replace('\n', " "));
    Explained::new(
        format!("the {what} in {path} cannot be used: {wrong}"),
        "the file was written by hand and has a mistake, or by another version",
        fix,
    )
    .into()
}
