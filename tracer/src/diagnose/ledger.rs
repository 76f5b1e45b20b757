//! What was told stays told. A finding whose sockets have all ended is over and stays in the report with what was
//! known while they were stuck; one whose sockets had another verdict before says so. No report denies what a
//! line or a report before it said.

mod told;

use std::{collections::BTreeMap, rc::Rc};

use foldhash::{HashMap, HashSet};

use super::{
    Blamer, Findings, Style,
    report::{self, Members},
};
use crate::{
    model::{
        report::{Blame, Report, Site},
        verdict::{Confidence, Severity, Verdict},
    },
    track::{Fate, Tracker},
};
use told::Told;

/// Findings that are over are kept up to this number; then the one that ended first goes.
pub const KEPT: usize = 512;

#[derive(Default)]
pub struct Ledger {
    told: BTreeMap<String, Told>,
    /// The finding of each socket that was told of and has not been seen to end; very many share one.
    members: HashMap<u64, Rc<str>>,
    /// Sockets that ended before any report told of them.
    unjudged: u64,
    forgotten: u64,
}

impl Ledger {
    /// The report of this moment, with what earlier ones told. `None` before the first input.
    pub fn report(
        &mut self,
        tracker: &Tracker,
        style: Style,
        blamer: Blamer<'_>,
    ) -> Option<Findings> {
        let mut findings = report::report(tracker, style, blamer)?;
        self.assign(&findings, tracker);
        let told = |cookie: &&u64| self.members.contains_key(cookie);
        self.unjudged += findings.passed.iter().filter(|of| !told(of)).count() as u64;
        let resting = self.settle(tracker, &findings);
        self.doubt(&mut findings.report, tracker);
        self.keep(&findings.report);
        let wall = |at| tracker.wall(at);
        let report = &mut findings.report;
        report.totals.unjudged = self.unjudged;
        for site in &mut report.sites {
            if let Some(told) = self.told.get(&site.id) {
                told.complete(site, tracker.now());
            }
        }
        let current: HashSet<String> = report.sites.iter().map(|site| site.id.clone()).collect();
        let over = self.told.iter().filter(|(id, _)| !current.contains(*id));
        for (id, told) in over {
            let resting = resting.get(id).copied().unwrap_or(0);
            let Some(site) = told.over(resting, tracker.now(), &wall) else {
                continue;
            };
            match report.sites.iter_mut().find(|now| explains(now, &site)) {
                Some(now) => now.evidence.push(told.as_part(&site, tracker.now())),
                None => report.sites.push(site),
            }
        }
        if self.forgotten > 0 {
            report.warnings.push(format!(
                "{} findings that were over were forgotten to stay within the memory bounds",
                self.forgotten
            ));
        }
        report.sort_sites();
        Some(findings)
    }

    pub fn remembered(&self) -> [(&'static str, usize); 2] {
        [
            ("told_findings", self.told.len()),
            ("told_sockets", self.members.len()),
        ]
    }

    /// Who belongs where now, and where each belonged before.
    fn assign(&mut self, findings: &Findings, tracker: &Tracker) {
        let now = tracker.now();
        // A run tells at its end alone: that a verdict has got a name meanwhile denies nothing.
        let header = tracker.run_header();
        let is_run = header.is_some_and(|header| header.exit_age_ns.is_some());
        for Members { id, cookies, .. } in findings.members.iter().filter(|of| !of.open) {
            let mut sites = findings.report.sites.iter();
            let site = sites.find(|site| site.id == *id).filter(|_| is_run);
            let unchanged = site.map(|site| site.verdict);
            let shared: Rc<str> = id.as_str().into();
            for cookie in cookies {
                let before = self.members.insert(*cookie, Rc::clone(&shared));
                let Some(before) = before.filter(|before| *before != shared) else {
                    continue;
                };
                let (was, earlier) = match self.told.get(&*before) {
                    Some(told) => (told.was(), told.came_from.clone()),
                    None => (None, BTreeMap::new()),
                };
                let told = self.told.entry(id.clone()).or_default();
                if let Some(was) = was {
                    if waits_for_its_turn(was.0) {
                        told.waited = Some(now);
                    }
                    if unchanged != Some(was.0) {
                        *told.came_from.entry(was).or_default() += 1;
                    }
                }
                for (was, most) in earlier {
                    let count = told.came_from.entry(was).or_default();
                    *count = (*count + 1).min(most);
                }
            }
        }
    }

    /// What became of others of its kind speaks against what a finding says of those that are left.
    fn doubt(&self, report: &mut Report, tracker: &Tracker) {
        let min_age = tracker.run_header().map_or(0, |header| header.min_age_ns);
        for site in &mut report.sites {
            let own = self.told.get(&site.id);
            let waited = own.and_then(|told| told.waited_until(site, tracker.now(), min_age));
            if waited.is_some() {
                site.severity = Severity::Suspect;
            }
            let ends = || {
                let mut alike = self
                    .told
                    .iter()
                    .filter(|(id, told)| **id == site.id || told.is_like(site));
                alike.find_map(|(_, told)| told.ends_by_itself(site))
            };
            if let Some(why) = waited.or_else(ends) {
                site.confidence = Confidence::Low;
                site.evidence.push(why);
            }
        }
    }

    /// What became of those that are not in the report any more; by finding, how many are neither stuck nor
    /// known to have ended.
    fn settle(&mut self, tracker: &Tracker, findings: &Findings) -> BTreeMap<String, u64> {
        let members = findings.members.iter();
        let current: HashSet<u64> = members.flat_map(|of| &of.cookies).copied().collect();
        let mut resting: BTreeMap<String, u64> = BTreeMap::new();
        let told = &mut self.told;
        self.members.retain(|cookie, id| {
            if current.contains(cookie) {
                return true;
            }
            let end = match tracker.fate(*cookie) {
                Fate::Lives | Fate::Awaited => {
                    *resting.entry(id.to_string()).or_default() += 1;
                    return true;
                }
                Fate::Ended(end) => Some(end),
                Fate::Gone => None,
            };
            if let Some(told) = told.get_mut(&**id) {
                told.ended(end, tracker.now());
            }
            false
        });
        resting
    }

    /// Keeps what this report says of each finding that has surely stuck sockets.
    fn keep(&mut self, report: &Report) {
        let alive: HashSet<&str> = self.members.values().map(Rc::as_ref).collect();
        for site in report.sites.iter().filter(|site| alive.contains(&*site.id)) {
            self.told.entry(site.id.clone()).or_default().keep(site);
        }
        // All sockets of the others belong to other findings now, which say so.
        self.told
            .retain(|id, told| told.has_ended() || alive.contains(id.as_str()));
        while self.told.len() > KEPT {
            let over = self
                .told
                .iter()
                .filter(|(id, _)| !alive.contains(id.as_str()));
            let first = over.min_by_key(|(_, told)| told.last_end());
            let Some(id) = first.map(|(id, _)| id.clone()) else {
                return;
            };
            self.told.remove(&id);
            self.forgotten += 1;
        }
    }
}

/// Somebody is at work, who will come to them.
fn waits_for_its_turn(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::WorkerStarvation | Verdict::OwnerBlocked)
}

/// The collector closes what was told of as forgotten while nobody had seen it run: one cause, one finding. They were opened
/// at one place of the function to blame; its callers, and what libraries did below it, may differ.
fn explains(now: &Site, over: &Site) -> bool {
    let program = |site: &Site| site.process.as_ref().map(|process| process.exe.clone());
    let opened_there = |site: &Site| {
        let frames = site.stacks.opened.iter().flatten();
        now.blame
            .as_ref()
            .is_some_and(|blame| frames.map(Blame::from).any(|frame| frame == *blame))
    };
    now.verdict == Verdict::GcDependent
        && over.verdict != Verdict::GcDependent
        && opened_there(over)
        && program(now) == program(over)
}
