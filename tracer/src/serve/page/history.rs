//! How many sockets each site had in each minute of the last hour. What has been gone for an hour is forgotten.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::model::report::{Report, Window};

pub(super) const MINUTES: usize = 60;
/// As many as a report holds here.
const MAX_SITES: usize = 500;

#[derive(Debug, Default)]
pub(in crate::serve) struct History {
    /// Minute since 1970 and the most sockets in it, oldest first.
    sites: BTreeMap<String, VecDeque<(i64, u64)>>,
}

/// A number a minute for each site, of the last hour or since watching began; minutes before the site was known
/// are zero.
pub(in crate::serve) type Trend = BTreeMap<String, Vec<u64>>;

impl History {
    pub(in crate::serve) fn add(&mut self, report: &Report) {
        let minute = minute(report.window.end);
        for site in &report.sites {
            if !self.sites.contains_key(&site.id) && self.sites.len() >= MAX_SITES {
                continue;
            }
            let count = if site.over.is_some() { 0 } else { site.count };
            let counts = self.sites.entry(site.id.clone()).or_default();
            match counts.back_mut() {
                Some((last, most)) if *last == minute => *most = (*most).max(count),
                _ => counts.push_back((minute, count)),
            }
        }
        self.sites.retain(|_, counts| {
            counts.retain(|(at, _)| is_recent(*at, minute));
            !counts.is_empty()
        });
    }

    /// Between two inspections the count is as it was, at the first.
    pub(in crate::serve) fn trend(&self, window: &Window) -> Trend {
        let now = minute(window.end);
        let first = minute(window.start).clamp(now - (MINUTES as i64 - 1), now);
        let trend = |counts: &VecDeque<(i64, u64)>| {
            (first..=now)
                .map(|at| {
                    let known = counts.iter().rev().find(|(minute, _)| *minute <= at);
                    known.map_or(0, |(_, count)| *count)
                })
                .collect()
        };
        self.sites
            .iter()
            .map(|(id, counts)| (id.clone(), trend(counts)))
            .collect()
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

fn is_recent(at: i64, now: i64) -> bool {
    (now - MINUTES as i64..=now).contains(&at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples;

    fn report(id: &str, count: u64, minute: i64) -> Report {
        let mut report = samples::eof_ignored();
        report.sites.truncate(1);
        report.sites[0].id = id.to_owned();
        report.sites[0].count = count;
        report.window.end = Timestamp::from_second(1_800_000_000 + minute * 60).unwrap();
        report
    }

    #[test]
    fn an_hour_is_shown_and_then_forgotten() {
        let mut history = History::default();
        for minute in 0..10 {
            history.add(&report("a", 10 + minute as u64, minute));
        }
        let mut window = report("a", 0, 9).window;
        window.start = Timestamp::from_second(1_700_000_000).unwrap();
        let trend = history.trend(&window);
        assert_eq!(trend["a"].len(), MINUTES);
        assert_eq!(
            trend["a"][MINUTES - 10..],
            [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
        );
        assert_eq!(trend["a"][0], 0);
        // Nobody knows what was before watching began.
        window.start = report("a", 0, 8).window.end;
        assert_eq!(history.trend(&window)["a"], [18, 19]);
        history.add(&report("b", 1, 200));
        assert_eq!(history.sites.len(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_and_too_many_sites_do_no_harm() {
        let mut history = History::default();
        history.add(&report("a", 5, 500));
        history.add(&report("a", 6, 10));
        assert_eq!(history.sites["a"].len(), 1);
        for index in 0..MAX_SITES + 10 {
            history.add(&report(&format!("s{index}"), 1, 11));
        }
        assert_eq!(history.sites.len(), MAX_SITES);
    }
}
