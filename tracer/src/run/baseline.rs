//! The findings of an earlier run, by fingerprint: what was there is known, what is new or has grown is not.
//! Pure: text in, text out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnose::FINGERPRINT_SCHEME;
use crate::model::report::Site;

const SCHEMA: &str = "sockleak.baseline/1";

/// What a place in the code keeps when lines move and the folder changes.
pub(super) fn fingerprint(site: &Site) -> &str {
    &site.fingerprint
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Baseline {
    schema: String,
    /// Sorted, so that the file changes only where a finding does.
    sites: BTreeMap<String, Known>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    count: u64,
    /// For the reader of the file alone.
    verdict: String,
    function: Option<String>,
}

impl Baseline {
    pub(super) fn of<'a>(sites: impl IntoIterator<Item = &'a Site>) -> Self {
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for site in sites {
            let entry = known.entry(fingerprint(site).to_owned()).or_default();
            entry.count += site.count;
            site.verdict.name().clone_into(&mut entry.verdict);
            let blame = site.blame.as_ref();
            entry.function = blame.map(|blame| blame.function.raw().to_owned());
        }
        Self {
            schema: SCHEMA.to_owned(),
            sites: known,
        }
    }

    /// The error says what is wrong with the file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let baseline: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if baseline.schema != SCHEMA {
            return Err(format!(
                "it is of schema {:?}, and this version reads {SCHEMA}",
                baseline.schema
            ));
        }
        let is_known = |key: &&String| !key.starts_with(&format!("{FINGERPRINT_SCHEME}-"));
        if let Some(other) = baseline.sites.keys().find(is_known) {
            return Err(format!(
                "its fingerprint {other:?} is of another scheme than {FINGERPRINT_SCHEME}, which this version uses"
            ));
        }
        Ok(baseline)
    }

    pub(super) fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// How many sockets the site had then.
    pub(super) fn count(&self, site: &Site) -> Option<u64> {
        self.sites.get(fingerprint(site)).map(|known| known.count)
    }
}

#[cfg(test)]
mod damaged {
    use super::*;

    #[test]
    fn damaged_files_are_read() {
        crate::damaged::run("baseline", 5000, |bytes| {
            let _ = Baseline::parse(&String::from_utf8_lossy(bytes));
        });
    }
}
