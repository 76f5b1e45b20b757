//! The file of suppressions: leaks that are known, each with a reason and perhaps an end. Pure: text in.

use jiff::civil::Date;
use serde::Deserialize;

use super::baseline::fingerprint;
use crate::model::{report::Site, verdict::Verdict};

#[derive(Debug, Default)]
pub(super) struct Suppressions {
    entries: Vec<Entry>,
    today: Date,
}

#[derive(Debug)]
struct Entry {
    rule: Rule,
    used: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    suppress: Vec<Rule>,
}

/// Every part that is given must fit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    reason: String,
    /// The last day on which it holds.
    expires: Option<String>,
    verdict: Option<Verdict>,
    function: Option<String>,
    module: Option<String>,
    site: Option<String>,
    fingerprint: Option<String>,
    comm: Option<String>,
    #[serde(skip)]
    until: Option<Date>,
}

impl Suppressions {
    /// The error says what is wrong with the file, and where.
    pub(super) fn parse(text: &str, today: Date) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut entries = Vec::new();
        for (number, mut rule) in (1..).zip(file.suppress) {
            rule.check()
                .map_err(|wrong| format!("suppression {number}: {wrong}"))?;
            entries.push(Entry { rule, used: false });
        }
        Ok(Self { entries, today })
    }

    /// Why this site is let pass.
    pub(super) fn of(&mut self, site: &Site) -> Option<String> {
        let today = self.today;
        let mut fitting = self
            .entries
            .iter_mut()
            .filter(|entry| entry.rule.fits(site));
        let mut reason = None;
        for entry in &mut fitting {
            entry.used = true;
            if reason.is_none() && !entry.rule.is_expired(today) {
                reason = Some(entry.rule.reason.clone());
            }
        }
        reason
    }

    /// Those that are of no use any more.
    pub(super) fn notes(&self) -> Vec<String> {
        let note = |entry: &Entry| {
            let what = entry.rule.shown();
            if entry.rule.is_expired(self.today) {
                let day = entry.rule.expires.as_deref().unwrap_or_default();
                let seen = if entry.used {
                    "and its leak is still there"
                } else {
                    "and nothing fits it"
                };
                Some(format!(
                    "the suppression of {what} expired on {day}, {seen}"
                ))
            } else if entry.used {
                None
            } else {
                Some(format!(
                    "the suppression of {what} fits nothing that was found"
                ))
            }
        };
        self.entries.iter().filter_map(note).collect()
    }
}

impl Rule {
    fn check(&mut self) -> Result<(), String> {
        if self.reason.trim().is_empty() {
            return Err("its reason is empty".to_owned());
        }
        let parts = [
            &self.function,
            &self.module,
            &self.site,
            &self.fingerprint,
            &self.comm,
        ];
        if self.verdict.is_none() && parts.iter().all(|part| part.is_none()) {
            return Err(
                "it names nothing: give verdict, function, module, site, fingerprint or comm"
                    .to_owned(),
            );
        }
        self.until =
            match &self.expires {
                Some(text) => {
                    let day = text.parse();
                    Some(day.map_err(|_| {
                        format!("{text:?} is no date; write expires = \"2030-01-31\"")
                    })?)
                }
                None => None,
            };
        Ok(())
    }

    fn fits(&self, site: &Site) -> bool {
        let blame = site.blame.as_ref();
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        self.verdict.is_none_or(|verdict| verdict == site.verdict)
            && is(&self.function, blame.map(|blame| blame.function.raw()))
            && is(
                &self.module,
                blame.and_then(|blame| Some(blame.module.as_ref()?.raw())),
            )
            && is(&self.site, Some(&site.id))
            && is(&self.fingerprint, Some(fingerprint(site)))
            && is(
                &self.comm,
                site.process.as_ref().map(|process| process.comm.raw()),
            )
    }

    fn is_expired(&self, today: Date) -> bool {
        self.until.is_some_and(|until| until < today)
    }

    fn shown(&self) -> String {
        let verdict = self.verdict.map(|verdict| verdict.name().to_owned());
        let parts = [
            &self.function,
            &self.module,
            &self.site,
            &self.fingerprint,
            &self.comm,
        ];
        let parts = parts.into_iter().flatten().cloned();
        verdict
            .into_iter()
            .chain(parts)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod damaged {
    use super::*;

    #[test]
    fn damaged_files_are_read() {
        crate::damaged::run("suppressions", 5000, |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let _ = Suppressions::parse(&text, jiff::civil::date(2030, 1, 1));
        });
    }
}
