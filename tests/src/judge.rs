//! What one report says of a rig and of its healthy twin, beside what is true of them: one line of
//! the confusion matrix. Judges and never panics over a wrong answer; running is in [`trace`].
use crate::manifest::{Blame, Entry};
use crate::report::{Report, Site};
use crate::rig::Rig;
use crate::sockleak::Running;
use crate::{compile, expect, wait};
use serde::Serialize;
use std::time::Duration;

const OPTIONS: [&str; 5] = ["--json", "--min-age", "1s", "--duration", "60s"];

/// How soon a rig that is old enough is told of.
const TOLD: Duration = Duration::from_secs(20);
/// For the tracer to hear of the exit as it hears of everything, some milliseconds late.
const AFTER_EXIT: Duration = Duration::from_millis(500);

/// A rig and its twin, both still there unless the rig `exits`, and the report on them.
#[derive(Debug)]
pub struct Traced {
    pub report: Report,
    pub rig: Rig,
    pub twin: Rig,
}

/// Traces a rig and its healthy twin from before their start, under one tracer.
pub fn trace(entry: &Entry) -> Traced {
    compile::command(entry);
    let tracer = Running::watch(OPTIONS);
    let mut rig = Rig::leaking(entry);
    let twin = Rig::healthy(entry);
    wait::outlive_one_second();
    std::thread::sleep(Duration::from_secs(entry.watch_seconds));
    if entry.exits {
        let process = format!("[{}]", rig.pid());
        wait::wait_for("the live line", TOLD, || {
            let lines = tracer.stderr().so_far();
            lines.iter().any(|line| line.contains(&process))
        });
        rig.end();
        std::thread::sleep(AFTER_EXIT);
    }
    let report = tracer.stop().report();
    Traced { report, rig, twin }
}

/// One finding, or its absence, beside the truth.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// `None`: nothing is stuck there.
    pub expected: Option<String>,
    /// `None`: nothing was found.
    pub given: Option<String>,
    /// The verdict is one of those that are true.
    pub right: bool,
    pub blame: Blamed,
    /// The finding in short and its evidence.
    pub shown: Vec<String>,
}

/// Whether the right function was blamed.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blamed {
    /// There is no right answer to compare with.
    Unchecked,
    /// Nobody is, where no frame can be named.
    Nobody,
    Right,
    Wrong(String),
}

#[derive(Debug, Serialize)]
pub struct Judgement {
    pub rig: String,
    pub language: String,
    pub pairs: Vec<Pair>,
    /// One without a finding, or all that were found.
    pub twin: Vec<Pair>,
    /// What makes the run itself doubtful.
    pub lost: u64,
}

impl Judgement {
    /// As `cargo xtask rigs` reads it.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("write a judgement")
    }
}

pub fn judge(traced: &Traced) -> Judgement {
    let Traced { report, rig, twin } = traced;
    let entry = &rig.entry;
    let first = Truth {
        verdicts: &entry.verdicts,
        count: rig.stuck,
        severity: entry.severity.as_deref(),
        blame: entry.blame.as_ref(),
    };
    let also = entry.also.as_ref().map(|also| Truth {
        verdicts: std::slice::from_ref(&also.verdict),
        count: entry.also_stuck(),
        severity: None,
        blame: also.blame.as_ref(),
    });
    let truths: Vec<Truth<'_>> = std::iter::once(first).chain(also).collect();
    let healthy: Vec<Pair> = of(report, twin).into_iter().map(surplus).collect();
    Judgement {
        rig: entry.name.clone(),
        language: entry.language.clone(),
        pairs: pair(&truths, of(report, rig), &entry.source),
        twin: if healthy.is_empty() {
            vec![nothing(None)]
        } else {
            healthy
        },
        lost: report
            .window
            .events
            .lost
            .saturating_sub(report.skipped_runs()),
    }
}

struct Truth<'a> {
    verdicts: &'a [String],
    count: usize,
    severity: Option<&'a str>,
    blame: Option<&'a Blame>,
}

impl Truth<'_> {
    fn named(&self) -> Option<String> {
        self.verdicts.first().cloned()
    }

    fn allows(&self, site: &Site) -> bool {
        self.verdicts.contains(&site.verdict)
    }
}

/// The findings on a rig: on its port or of its process.
fn of<'a>(report: &'a Report, rig: &Rig) -> Vec<&'a Site> {
    let on_port = expect::sites(report, rig);
    let its = |site: &&Site| {
        on_port.iter().any(|other| other.id == site.id)
            || (site.process.as_ref()).is_some_and(|process| process.pid == rig.pid())
    };
    report
        .sites
        .iter()
        .filter(its)
        .filter(|site| site.is_of_the_end())
        .collect()
}

/// Every truth takes a finding that states it; what is left over goes to a truth nobody stated, else to
/// the first.
fn pair(truths: &[Truth<'_>], mut sites: Vec<&Site>, source: &str) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let mut unstated = Vec::new();
    for truth in truths {
        match sites.iter().position(|site| truth.allows(site)) {
            Some(at) => pairs.push(stated(truth, sites.remove(at), source)),
            None => unstated.push(truth),
        }
    }
    for truth in unstated {
        if sites.is_empty() {
            pairs.push(nothing(truth.named()));
        } else {
            let wrong = surplus(sites.remove(0));
            pairs.push(Pair {
                expected: truth.named(),
                ..wrong
            });
        }
    }
    let first = truths.first().and_then(Truth::named);
    pairs.extend(sites.into_iter().map(|site| Pair {
        expected: first.clone(),
        ..surplus(site)
    }));
    pairs
}

fn stated(truth: &Truth<'_>, site: &Site, source: &str) -> Pair {
    let mut pair = surplus(site);
    pair.expected = truth.named();
    // Another true name counts as the one the rig is made for.
    pair.given = truth.named();
    pair.right =
        site.count == truth.count && truth.severity.is_none_or(|told| told == site.severity);
    let checked = truth
        .blame
        .map(|wanted| expect::blame_of(site, wanted, source));
    pair.blame = match checked {
        None => Blamed::Unchecked,
        Some(Ok(())) if site.blame.is_none() => Blamed::Nobody,
        Some(Ok(())) => Blamed::Right,
        Some(Err(error)) => Blamed::Wrong(format!("{error:#}")),
    };
    pair
}

fn surplus(site: &Site) -> Pair {
    let blame = site
        .blame
        .as_ref()
        .map_or("nobody", |blame| &blame.function);
    let (verdict, count) = (&site.verdict, site.count);
    let mut shown = vec![format!(
        "{count} × {verdict} ({}, {} confidence), blames {blame}",
        site.severity, site.confidence
    )];
    shown.extend(site.evidence.iter().cloned());
    Pair {
        expected: None,
        given: Some(verdict.clone()),
        right: false,
        blame: Blamed::Unchecked,
        shown,
    }
}

fn nothing(expected: Option<String>) -> Pair {
    Pair {
        right: expected.is_none(),
        expected,
        given: None,
        blame: Blamed::Unchecked,
        shown: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(verdict: &str, count: usize) -> Site {
        let text = format!(
            r#"{{"id":"{verdict}","verdict":"{verdict}","confidence":"high","severity":"leak",
            "summary":"","evidence":["why"],"advice":"","count":{count},"oldest_seconds":1.0,
            "age_is_lower_bound":false,"peers":[],"stacks":{{}},"sockets":[],"sockets_omitted":0}}"#
        );
        serde_json::from_str(&text).expect("a site")
    }

    type Line = (String, String, bool);

    fn outcome(wanted: &[&str], sites: &[Site]) -> Vec<Line> {
        let verdicts: Vec<Vec<String>> = wanted.iter().map(|name| vec![(*name).into()]).collect();
        let truth = |verdicts| Truth {
            verdicts,
            count: 5,
            severity: None,
            blame: None,
        };
        let truths: Vec<Truth<'_>> = verdicts.iter().map(|one| truth(one.as_slice())).collect();
        let shown = |name: Option<String>| name.unwrap_or_else(|| "nothing".to_owned());
        pair(&truths, sites.iter().collect(), "")
            .into_iter()
            .map(|pair| (shown(pair.expected), shown(pair.given), pair.right))
            .collect()
    }

    fn line(expected: &str, given: &str, right: bool) -> Line {
        (expected.to_owned(), given.to_owned(), right)
    }

    #[test]
    fn a_right_verdict_with_the_right_count_is_right() {
        let told = outcome(&["event-lost"], &[site("event-lost", 5)]);
        assert_eq!(told, [line("event-lost", "event-lost", true)]);
        let told = outcome(&["event-lost"], &[site("event-lost", 4)]);
        assert_eq!(told, [line("event-lost", "event-lost", false)]);
    }

    #[test]
    fn a_wrong_verdict_a_split_and_silence_are_not() {
        let told = outcome(&["event-lost"], &[site("unknown", 5)]);
        assert_eq!(told, [line("event-lost", "unknown", false)]);
        let told = outcome(&["event-lost"], &[]);
        assert_eq!(told, [line("event-lost", "nothing", false)]);
        let told = outcome(
            &["event-lost"],
            &[site("unknown", 1), site("event-lost", 5)],
        );
        assert_eq!(told[1], line("event-lost", "unknown", false));
    }

    #[test]
    fn two_truths_take_a_finding_each() {
        let both = ["fd-limit", "eof-ignored"];
        let told = outcome(&both, &[site("eof-ignored", 5), site("fd-limit", 5)]);
        assert!(told.iter().all(|(_, _, right)| *right), "{told:?}");
        let told = outcome(&both, &[site("eof-ignored", 5), site("never-accepted", 5)]);
        assert_eq!(told[1], line("fd-limit", "never-accepted", false));
    }
}
