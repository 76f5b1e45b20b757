//! One run or several: `--repeat` counts in how many a finding appears, `--scale` what grows with the work.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::events::Signals;
use super::follow::{Ended, Execution, Task, follow};
use super::judge::Judge;
use crate::model::outcome::{Fate, Finding, Pass};
use crate::model::report::{Report, Runs, Site};
use crate::options::{HowOften, Options, Run};

/// What stands in CMD's arguments for the size of the work, and the variable that holds it.
const PLACE: &[u8] = b"{n}";
const VARIABLE: &str = "SOCKLEAK_N";

/// Ends early when CMD cannot be run, or tracing is impossible.
pub(super) fn run(
    options: &Options,
    run: &Run,
    record: Option<&File>,
) -> anyhow::Result<Vec<Execution>> {
    let signals = Signals::take()?;
    let sizes: Vec<Option<u64>> = match run.how_often {
        HowOften::Once => vec![None],
        HowOften::Repeat(times) => vec![None; times as usize],
        HowOften::Scale(small, large) => vec![Some(small), Some(large)],
    };
    let mut done = Vec::new();
    for size in sizes {
        let text = size.map(|size| size.to_string());
        let command: Vec<OsString> = run
            .command
            .iter()
            .map(|word| {
                text.as_deref()
                    .map_or_else(|| word.clone(), |n| filled(word, n))
            })
            .collect();
        let execution = follow(&Task {
            options,
            run,
            command: &command,
            variable: text.as_deref().map(|n| (VARIABLE, OsStr::new(n))),
            record,
            signals: &signals,
        })?;
        let goes_on = matches!(&execution.end, Ended::With(_)) && execution.traced.is_ok();
        done.push(execution);
        if !goes_on {
            break;
        }
    }
    Ok(done)
}

fn filled(word: &OsStr, size: &str) -> OsString {
    let mut rest = word.as_bytes();
    let mut out = Vec::new();
    while let Some(at) = rest.windows(PLACE.len()).position(|part| part == PLACE) {
        let (before, after) = rest.split_at(at);
        out.extend(before);
        out.extend(size.as_bytes());
        rest = after.get(PLACE.len()..).unwrap_or_default();
    }
    out.extend(rest);
    OsString::from_vec(out)
}

/// The findings of all runs, each once.
pub(super) fn findings(run: &Run, reports: &[&Report], judge: &mut Judge<'_>) -> Vec<Finding> {
    match run.how_often {
        HowOften::Once => {
            let sites = reports.iter().flat_map(|report| report.sites.clone());
            judge.findings(sites.collect())
        }
        HowOften::Repeat(times) => repeated(times, reports, judge),
        HowOften::Scale(..) => scaled(reports, judge),
    }
}

fn repeated(times: u32, reports: &[&Report], judge: &mut Judge<'_>) -> Vec<Finding> {
    let mut sites: Vec<Site> = Vec::new();
    for report in reports {
        // Two findings of one run are two, also where they are alike.
        let mut left: Vec<usize> = (0..sites.len()).collect();
        for site in &report.sites {
            let at = |is: fn(&Site, &Site) -> bool| {
                let mut places = left.iter();
                places.position(|place| sites.get(*place).is_some_and(|known| is(known, site)))
            };
            let at = at(|known, site| known.id == site.id).or_else(|| at(is_same));
            let known = at.map(|at| left.swap_remove(at));
            match known.and_then(|place| sites.get_mut(place)) {
                Some(known) => add(known, site),
                None => sites.push(Site {
                    runs: Some(Runs {
                        appeared: 1,
                        of: times,
                    }),
                    ..site.clone()
                }),
            }
        }
    }
    sites.sort_by(Site::worst_first);
    judge.findings(sites)
}

/// Told as in the run that had most of its sockets.
fn add(known: &mut Site, site: &Site) {
    if let Some(runs) = &mut known.runs {
        runs.appeared += 1;
    }
    if site.count > known.count {
        *known = Site {
            runs: known.runs,
            ..site.clone()
        };
    }
}

/// Of the larger run. Size decides in place of severity: what grows with the work is a leak, what does not is a
/// pool.
fn scaled(reports: &[&Report], judge: &mut Judge<'_>) -> Vec<Finding> {
    let [small, large] = reports else {
        return Vec::new();
    };
    let before = |site: &Site| -> u64 {
        let same = small.sites.iter().filter(|known| is_same(known, site));
        same.map(|known| known.count).sum()
    };
    let mut findings = judge.findings(large.sites.clone());
    for finding in &mut findings {
        let grows = finding.site.count > before(&finding.site);
        finding.fate = match &finding.fate {
            Fate::Passes(
                Pass::Suppressed { .. } | Pass::Known { .. } | Pass::Few { .. } | Pass::Over,
            ) => continue,
            _ if grows => Fate::Fails,
            _ => Fate::Passes(Pass::DoesNotGrow),
        };
        finding.site.evidence.push(format!(
            "{} sockets in the small run, {} in the large one",
            before(&finding.site),
            finding.site.count
        ));
    }
    findings
}

fn is_same(one: &Site, other: &Site) -> bool {
    one.fingerprint == other.fingerprint && one.verdict == other.verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_put_everywhere_and_only_there() {
        let filled = |word: &str| filled(word.as_ref(), "10");
        assert_eq!(filled("--n={n}x{n}"), "--n=10x10");
        assert_eq!(filled("{m}{"), "{m}{");
        assert_eq!(filled(""), "");
    }
}
