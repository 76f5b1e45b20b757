//! What the findings of a `run` do to its exit code: made once, shown by every sink.

use super::report::Site;
use super::verdict::Severity;

/// Everything a sink needs to say of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// CMD and its arguments, as they were given.
    pub command: String,
    pub seconds: f64,
    pub checked: Checked,
    pub findings: Vec<Finding>,
    /// What the user should know beside the findings: suppressions out of use, growth, losses.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    Whole,
    /// Events were lost and not repaired: nothing says that there is no leak.
    InPart,
    /// Tracing was impossible.
    Not {
        why: String,
    },
}

#[derive(Clone, Debug)]
pub struct Finding {
    pub site: Site,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    Fails,
    /// Told, and no more than that.
    Passes(Pass),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Less severe than what was to fail.
    Severity(Severity),
    /// The program closed the sockets by itself, late.
    Over,
    Suppressed {
        reason: String,
    },
    /// It was there when the baseline was written, with so many sockets.
    Known {
        before: u64,
    },
    /// All leaks together are fewer than `--max-leaks`.
    Few {
        allowed: u64,
    },
    /// It does not grow with the work (`--scale`).
    DoesNotGrow,
}

impl Outcome {
    pub fn failing(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.fate == Fate::Fails)
    }

    /// The same sites, told otherwise.
    pub fn take_sites_from(&mut self, sites: &[Site]) {
        for finding in &mut self.findings {
            if let Some(site) = sites.iter().find(|site| site.id == finding.site.id) {
                finding.site = site.clone();
            }
        }
    }

    pub fn suppressed(&self) -> usize {
        let is = |finding: &&Finding| matches!(finding.fate, Fate::Passes(Pass::Suppressed { .. }));
        self.findings.iter().filter(is).count()
    }
}

impl Pass {
    /// Completes "not a failure: …".
    pub fn because(&self) -> String {
        match self {
            Self::Severity(severity) => format!("severity {}", severity.name()),
            Self::Over => "the program closed the sockets itself, late".to_owned(),
            Self::Suppressed { reason } => format!("suppressed: {reason}"),
            Self::Known { before } => format!("known from the baseline, with {before} sockets"),
            Self::Few { allowed } => format!("no more than {allowed} in all (--max-leaks)"),
            Self::DoesNotGrow => "it does not grow with the work".to_owned(),
        }
    }
}
