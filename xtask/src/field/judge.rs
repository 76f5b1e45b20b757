//! Weighs what sockleak said of a case against the truth. Pure: reads a report, answers with an outcome.
//!
//! A wrong answer is one of medium or high confidence that is not acceptable, an innocent function that is
//! blamed, half of the sockets passed over, a finding where nothing is wrong, or one cause told as several.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::case::{All, Part, Place, Share, Truth};
use super::said::{Frame, Said, Site};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Class {
    Right,
    Verdict,
    Honest,
    Wrong,
}

impl Class {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Right => "RIGHT",
            Self::Verdict => "VERDICT",
            Self::Honest => "HONEST",
            Self::Wrong => "WRONG",
        }
    }
}

/// One finding, and how many of its sockets are of which class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub sockets: u64,
    pub verdict: String,
    pub confidence: String,
    pub severity: String,
    pub blame: String,
    pub classes: BTreeMap<Class, u64>,
}

impl Finding {
    /// Its verdict is acceptable for every socket of it.
    pub fn is_right(&self) -> bool {
        self.classes.keys().all(|class| *class <= Class::Verdict)
    }

    pub fn is_sure(&self) -> bool {
        matches!(self.confidence.as_str(), "medium" | "high")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judgement {
    pub outcome: Class,
    pub why: Vec<String>,
    pub findings: Vec<Finding>,
    pub told: u64,
}

pub fn judge(truth: &Truth, said: &Said, port: u16) -> Result<Judgement> {
    let mut room: Vec<u64> = truth.expect.iter().map(room_of).collect();
    let mut tally: BTreeMap<Class, u64> = BTreeMap::new();
    let (mut why, mut findings) = (Vec::new(), Vec::new());
    let mut sites: Vec<&Site> = said.sites.iter().collect();
    sites.sort_by_key(|site| std::cmp::Reverse(site.count));
    for site in &sites {
        let finding = weigh(truth, site, &mut room, port, &mut why)?;
        for (class, sockets) in &finding.classes {
            *tally.entry(*class).or_default() += sockets;
        }
        findings.push(finding);
    }
    let told = said.sites.iter().map(|site| site.count).sum();
    if !truth.clean {
        if said.sites.is_empty() && is_told_by_warning(truth, said)? {
            return Ok(Judgement {
                outcome: Class::Right,
                why: vec!["told in a warning".to_owned()],
                findings,
                told,
            });
        }
        missed(truth, said, told, &mut tally, &mut why);
    }
    Ok(Judgement {
        outcome: outcome(&tally),
        why,
        findings,
        told,
    })
}

/// An expected number of sockets may be told a little too high: traffic goes on.
fn room_of(part: &Part) -> u64 {
    match part.share {
        Share::Sockets(count) => count + (count / 4).max(2),
        Share::Word(All::All) => u64::MAX,
    }
}

fn weigh(
    truth: &Truth,
    site: &Site,
    room: &mut [u64],
    port: u16,
    why: &mut Vec<String>,
) -> Result<Finding> {
    let mut left = site.count;
    let mut classes: BTreeMap<Class, u64> = BTreeMap::new();
    let mut parts = Vec::new();
    for (part, room) in truth.expect.iter().zip(room) {
        if fits(site, part) {
            parts.push((!is_named(site, part, port)?, room));
        }
    }
    parts.sort_by_key(|(unnamed, _)| *unnamed);
    for (unnamed, room) in parts {
        let take = left.min(*room);
        *room -= take;
        left -= take;
        if take > 0 {
            let class = if unnamed {
                Class::Verdict
            } else {
                Class::Right
            };
            *classes.entry(class).or_default() += take;
        }
    }
    if left > 0 {
        let sure =
            site.verdict != "unknown" && matches!(site.confidence.as_str(), "medium" | "high");
        let barred = truth
            .never
            .as_ref()
            .is_none_or(|never| never.iter().any(|name| is_called(&site.verdict, name)));
        let wrong = truth.clean || sure && barred;
        let class = if wrong { Class::Wrong } else { Class::Honest };
        *classes.entry(class).or_default() += left;
        if wrong {
            let healthy = if truth.clean {
                " where nothing is wrong"
            } else {
                ""
            };
            why.push(format!(
                "{left} {}/{}{healthy}",
                site.verdict, site.confidence
            ));
        }
    }
    if let Some(accused) = accused(truth, site)? {
        classes = BTreeMap::from([(Class::Wrong, site.count)]);
        why.push(accused);
    }
    Ok(Finding {
        sockets: site.count,
        verdict: site.verdict.clone(),
        confidence: site.confidence.clone(),
        severity: site.severity.clone(),
        blame: blamed(site),
        classes,
    })
}

fn is_called(verdict: &str, name: &str) -> bool {
    name == "*" || name == verdict
}

fn fits(site: &Site, part: &Part) -> bool {
    part.verdict
        .iter()
        .any(|name| is_called(&site.verdict, name))
        && part
            .severity
            .as_ref()
            .is_none_or(|severity| *severity == site.severity)
}

fn is_named(site: &Site, wanted: &Part, port: u16) -> Result<bool> {
    if let Some(pattern) = &wanted.function {
        let pattern = regex(pattern)?;
        if !names(site, wanted.place)
            .iter()
            .any(|name| pattern.is_match(name))
        {
            return Ok(false);
        }
    }
    if let Some(pattern) = &wanted.evidence {
        let next = u32::from(port) + 1;
        let pattern = regex(&pattern.replace("{port+1}", &next.to_string()))?;
        let lines = [&site.summary, &site.advice];
        let mut lines = lines.into_iter().chain(&site.evidence);
        return Ok(lines.any(|line| pattern.is_match(line)));
    }
    Ok(true)
}

/// Names of functions, and the last three parts of their files.
fn names(site: &Site, place: Place) -> Vec<String> {
    let stacks = &site.stacks;
    let mut frames: Vec<&Frame> = site.blame.iter().collect();
    if place != Place::Blame {
        let recorded = [
            &stacks.opened,
            &stacks.eof,
            &stacks.last_used,
            &stacks.taken_out,
            &stacks.sibling_close,
        ];
        frames.extend(recorded.into_iter().flatten().flatten());
    }
    if place == Place::Threads {
        frames.extend(stacks.holders.iter().flat_map(|holder| &holder.stack));
    }
    let mut names: Vec<String> = Vec::new();
    for frame in frames {
        names.extend(frame.function.clone());
        names.extend(frame.file.as_deref().map(|file| {
            let parts: Vec<&str> = file.rsplit('/').take(3).collect();
            parts.into_iter().rev().collect::<Vec<_>>().join("/")
        }));
    }
    names
}

/// A function that is innocent and blamed, or that was not on a stack where it is shown.
fn accused(truth: &Truth, site: &Site) -> Result<Option<String>> {
    if !matches!(site.confidence.as_str(), "medium" | "high") {
        return Ok(None);
    }
    let function = |frame: &Frame| frame.function.clone().unwrap_or_default();
    let blamed: Vec<String> = site.blame.iter().map(function).collect();
    let shown = [&site.stacks.eof, &site.stacks.last_used];
    let shown: Vec<String> = shown
        .into_iter()
        .flatten()
        .flatten()
        .map(function)
        .collect();
    for (pattern, names, what) in [
        (&truth.innocent, blamed, "is innocent"),
        (&truth.absent, shown, "was not there"),
    ] {
        let Some(pattern) = pattern else { continue };
        let pattern = regex(pattern)?;
        if let Some(name) = names.iter().find(|name| pattern.is_match(name)) {
            return Ok(Some(format!("{name} {what}")));
        }
    }
    Ok(None)
}

fn blamed(site: &Site) -> String {
    let blame = site.blame.as_ref();
    match blame.map(|frame| (&frame.function, &frame.module)) {
        Some((Some(function), _)) => function.clone(),
        Some((None, Some(module))) => format!("{module} (stripped)"),
        _ => "no function".to_owned(),
    }
}

fn is_told_by_warning(truth: &Truth, said: &Said) -> Result<bool> {
    let Some(pattern) = &truth.or_warning else {
        return Ok(false);
    };
    let pattern = regex(pattern)?;
    Ok(said
        .warnings
        .iter()
        .any(|warning| pattern.is_match(warning)))
}

/// Sockets passed over, and causes told more than once.
fn missed(
    truth: &Truth,
    said: &Said,
    told: u64,
    tally: &mut BTreeMap<Class, u64>,
    why: &mut Vec<String>,
) {
    let wanted = truth.sockets;
    if said.sites.is_empty() {
        let number = match wanted {
            0 => "some".to_owned(),
            number => number.to_string(),
        };
        why.push(format!("{number} sockets were stuck"));
        *tally.entry(Class::Wrong).or_default() += wanted.max(1);
    } else if told * 2 < wanted {
        why.push(format!("told of {told} of {wanted} sockets"));
        *tally.entry(Class::Wrong).or_default() += wanted - told;
    } else if told * 10 < wanted * 9 {
        *tally.entry(Class::Honest).or_default() += wanted - told;
    }
    let most = truth.findings.unwrap_or(truth.expect.len().max(1));
    if said.sites.len() > most {
        why.push(format!(
            "{} findings, at most {most} make sense",
            said.sites.len()
        ));
        *tally.entry(Class::Wrong).or_default() += 1;
    }
}

fn outcome(tally: &BTreeMap<Class, u64>) -> Class {
    let of = |class| tally.get(&class).copied().unwrap_or_default();
    let total: u64 = tally.values().sum();
    let most = |part: u64| part * 10 >= total * 9;
    if of(Class::Wrong) > 0 {
        Class::Wrong
    } else if most(of(Class::Right)) {
        Class::Right
    } else if most(of(Class::Right) + of(Class::Verdict)) {
        Class::Verdict
    } else {
        Class::Honest
    }
}

fn regex(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).with_context(|| format!("`{pattern}` is no regular expression"))
}

#[cfg(test)]
mod tests;
