//! Which findings of a run fail it. Pure: the report, what is known, and the user's options in; fates out.

use super::baseline::Baseline;
use super::suppress::Suppressions;
use crate::model::{
    outcome::{Fate, Finding, Pass},
    report::{Ended, Report, Site},
    verdict::Severity,
};
use crate::options::Run;

pub(super) struct Judge<'a> {
    pub run: &'a Run,
    pub suppressions: Suppressions,
    pub baseline: Option<Baseline>,
}

impl Judge<'_> {
    /// What the program itself closed later is suspect at most, in every output alike.
    pub(super) fn soften(&self, report: &mut Report) {
        if self.run.strict {
            return;
        }
        for site in report.sites.iter_mut().filter(|site| is_over(site)) {
            site.severity = site.severity.min(Severity::Suspect);
        }
        report.sites.sort_by(Site::worst_first);
    }

    /// The worst first, as the report has them.
    pub(super) fn findings(&mut self, sites: Vec<Site>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = sites
            .into_iter()
            .map(|site| Finding {
                fate: self.fate(&site),
                site,
            })
            .collect();
        self.let_few_pass(&mut findings);
        findings
    }

    fn fate(&mut self, site: &Site) -> Fate {
        let suppressed = self.suppressions.of(site);
        if site.severity < self.run.fail_on {
            return Fate::Passes(if is_over(site) && site.severity == Severity::Suspect {
                Pass::Over
            } else {
                Pass::Severity(site.severity)
            });
        }
        if let Some(reason) = suppressed {
            return Fate::Passes(Pass::Suppressed { reason });
        }
        let known = self.baseline.as_ref().and_then(|known| known.count(site));
        match known {
            Some(before) if site.count <= before.saturating_add(self.run.known.max_growth) => {
                Fate::Passes(Pass::Known { before })
            }
            _ => Fate::Fails,
        }
    }

    fn let_few_pass(&self, findings: &mut [Finding]) {
        let allowed = self.run.known.max_leaks;
        let failing = findings
            .iter_mut()
            .filter(|finding| finding.fate == Fate::Fails);
        let failing: Vec<&mut Finding> = failing.collect();
        let sockets: u64 = failing.iter().map(|finding| finding.site.count).sum();
        if sockets <= allowed {
            for finding in failing {
                finding.fate = Fate::Passes(Pass::Few { allowed });
            }
        }
    }
}

/// Did the program itself, or its peer, end what was found? What only an exit closed was left to the end.
fn is_over(site: &Site) -> bool {
    let over = site.over.as_ref();
    over.is_some_and(|over| over.how != Some(Ended::Exit))
}
