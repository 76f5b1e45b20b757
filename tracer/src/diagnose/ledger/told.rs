//! One finding that was told of: what was last said of it, and how its sockets ended.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    diagnose::explanation::{agree, sockets, span},
    model::{
        report::{Ended, Over, Site},
        verdict::{Confidence, Verdict},
    },
    track::End,
};

/// Threads of a finding that is over: what they did then explains it, all of them are not needed.
const HOLDERS: usize = 4;

/// What ends after some time does not end at the same moment each time.
const LONGER: f64 = 1.25;

/// A verdict, and the function that was blamed.
pub type Was = (Verdict, Option<String>);

#[derive(Default)]
pub struct Told {
    /// As the last report with living sockets of it had it; `None` until then.
    site: Option<Box<Site>>,
    /// How sockets of it ended; `None` where nothing told how.
    ends: BTreeMap<Option<Ended>, u64>,
    /// How many the program closed without having read or written anything.
    untouched: u64,
    /// Of the sockets that ended, the longest that one was stuck.
    longest: u64,
    last: u64,
    /// What its sockets were told of as before.
    pub came_from: BTreeMap<Was, u64>,
    /// When one of them was last seen to have waited for its turn until then.
    pub waited: Option<u64>,
}

impl Told {
    pub fn keep(&mut self, site: &Site) {
        let mut site = Box::new(site.clone());
        site.stacks.holders.truncate(HOLDERS);
        self.site = Some(site);
    }

    pub fn was(&self) -> Option<Was> {
        let site = self.site.as_ref()?;
        let blamed = site.blame.as_ref();
        Some((
            site.verdict,
            blamed.map(|blame| blame.function.raw().to_owned()),
        ))
    }

    pub fn ended(&mut self, end: Option<End>, now: u64) {
        // An exit is what this verdict is about.
        let exit = self.site.as_ref().map(|site| site.verdict) == Some(Verdict::ClosedAtExit);
        let how = end
            .map(|end| end.how)
            .or_else(|| exit.then_some(Ended::Exit));
        *self.ends.entry(how).or_default() += 1;
        let untouched = end.is_some_and(|end| end.untouched && end.how == Ended::Closed);
        self.untouched += u64::from(untouched);
        self.longest = self.longest.max(end.map_or(0, |end| end.age));
        self.last = self.last.max(end.map_or(now, |end| end.at));
    }

    pub fn has_ended(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Of connections that waited for their turn a short while ago, nobody knows yet that they were forgotten: between two
    /// pieces of work the workers of a pool look as if there was no more.
    pub fn waited_until(&self, site: &Site, now: u64, min_age: u64) -> Option<String> {
        let forgotten = matches!(site.verdict, Verdict::NeverRead | Verdict::LostReference);
        let ago = now.saturating_sub(self.waited.filter(|_| forgotten)?);
        (ago < min_age).then(|| {
            format!(
                "not excluded: they waited for their turn until {} ago, and may do so still",
                span(ago)
            )
        })
    }

    /// Of one process and service, and told of as the same: one path through the code may have several places.
    pub fn is_like(&self, other: &Site) -> bool {
        let pid = |site: &Site| site.process.as_ref().map(|process| process.pid);
        self.site.as_ref().is_some_and(|own| {
            own.verdict == other.verdict
                && pid(own).is_some()
                && pid(own) == pid(other)
                && own.direction == other.direction
                && own.ports == other.ports
        })
    }

    /// The program has closed some that were stuck like these, and none of these is stuck for longer than those were: a time
    /// limit, or work that takes its time, may end them all.
    pub fn ends_by_itself(&self, site: &Site) -> Option<String> {
        let forgotten = says_forgotten(site.verdict);
        let closed = *self.ends.get(&Some(Ended::Closed))?;
        let longest = seconds(self.longest);
        let is_over = site.over.is_some() || !forgotten;
        (!is_over && site.oldest_seconds <= longest * LONGER).then(|| {
            format!(
                "not excluded: {} stuck like these {} closed by the program, after {} at most, and none of these is stuck for \
                 much longer: it may close them all in time",
                sockets(closed as usize),
                agree(closed as usize, "was", "were"),
                span(self.longest)
            )
        })
    }

    pub fn last_end(&self) -> u64 {
        self.last
    }

    fn count(&self) -> u64 {
        self.ends.values().sum()
    }

    /// What was told before of sockets that belong to this finding, or did.
    pub fn complete(&self, site: &mut Site, now: u64) {
        site.evidence.extend(self.changes(site.verdict));
        if !self.has_ended() {
            return;
        }
        if let Some(over) = &mut site.over {
            // Only ended sockets: those that earlier reports told of are among them.
            site.count += self.count();
            over.longest_seconds = over.longest_seconds.max(seconds(self.longest));
            return;
        }
        let more = sockets(self.count() as usize);
        site.evidence.push(format!(
            "{more} beside {} {} stuck here before and {} ended: {}",
            match site.count {
                1 => "this one",
                _ => "these",
            },
            agree(self.count() as usize, "was", "were"),
            agree(self.count() as usize, "has", "have"),
            self.how(now)
        ));
    }

    /// The finding when none of its sockets is stuck any more. Of `resting` it is not known that they ended.
    pub fn over(
        &self,
        resting: u64,
        now: u64,
        wall: &dyn Fn(u64) -> Option<Timestamp>,
    ) -> Option<Site> {
        if self.count() + resting == 0 {
            return None;
        }
        let mut site = *self.site.clone()?;
        let last = if self.has_ended() { self.last } else { now };
        let most = self.ends.iter().max_by_key(|(_, count)| **count);
        let longest = seconds(self.longest).max(site.oldest_seconds);
        site.evidence.extend(self.changes(site.verdict));
        if self.has_ended() {
            let ended = sockets(self.count() as usize);
            let have = agree(self.count() as usize, "has", "have");
            site.evidence
                .push(format!("{ended} {have} ended: {}", self.how(now)));
        }
        if resting > 0 {
            let are = agree(resting as usize, "is", "are");
            site.evidence.push(format!(
                "{} {are} not stuck any more: used again, or ended in a way that nothing told of",
                sockets(resting as usize)
            ));
        }
        let closed = self.ends.get(&Some(Ended::Closed)).copied().unwrap_or(0);
        if says_forgotten(site.verdict) && closed * 2 > self.count() + resting {
            // That nothing was read is true to their end; that they were forgotten is not.
            let stays_true =
                site.verdict == Verdict::NeverRead && self.untouched == self.count() + resting;
            if !stays_true {
                site.confidence = Confidence::Low;
            }
            let (count, name) = (closed as usize, site.blame.as_ref());
            site.summary = format!(
                "{} {} stuck for at most {} and then closed by the program{}{}",
                sockets(count),
                agree(count, "was", "were"),
                span(self.longest),
                if stays_true { ", unread" } else { "" },
                name.map_or_else(String::new, |name| format!(
                    "; seen before that in {}",
                    name.function.raw()
                ))
            );
        }
        site.count = self.count() + resting;
        let shown = site.sockets.len() as u64;
        if shown > site.count {
            site.sockets.truncate(site.count as usize);
        }
        site.sockets_omitted = site.count.saturating_sub(shown);
        site.oldest_seconds = longest;
        site.age_seconds_at_most = site.age_seconds_at_most.map(|most| most.max(longest));
        site.growth_per_minute = None;
        // Both ends may be those of another connection by now.
        site.relief = None;
        site.over = Some(Over {
            ended: wall(last)?,
            how: most.and_then(|(how, _)| *how),
            longest_seconds: longest,
        });
        Some(site)
    }

    /// The same as a line of the finding that has turned out to be the cause.
    pub fn as_part(&self, site: &Site, now: u64) -> String {
        let count = site.count as usize;
        let how = if self.has_ended() {
            format!(": {}", self.how(now))
        } else {
            String::new()
        };
        format!(
            "{} opened at the same place {} seen as {} before and {} not stuck any more{how}",
            sockets(count),
            agree(count, "was", "were"),
            site.verdict,
            agree(count, "is", "are")
        )
    }

    /// `8 closed by the program, 1 by the exit of its process; the last 3 s ago, none later than 8 s after it got
    /// stuck`.
    fn how(&self, now: u64) -> String {
        let parts: Vec<String> = self
            .ends
            .iter()
            .map(|(how, count)| match how {
                Some(Ended::Closed) => format!("{count} closed by the program"),
                Some(Ended::Exit) => format!("{count} closed only by the exit of the process"),
                Some(Ended::Reset) => {
                    format!("{count} by a reset, or because nobody listened any more")
                }
                None => format!("{count} without a word of how"),
            })
            .collect();
        let ago = span(now.saturating_sub(self.last));
        let longest = match self.longest {
            0 => String::new(),
            longest => format!(", stuck for at most {}", span(longest)),
        };
        format!("{}; the last {ago} ago{longest}", parts.join(", "))
    }

    fn changes(&self, now: Verdict) -> Vec<String> {
        let line = |((verdict, function), count): (&Was, &u64)| {
            let within = function
                .as_ref()
                .map_or_else(String::new, |name| format!(" in {name}"));
            let why = match now {
                Verdict::ClosedAtExit if *verdict != now => "then the process exited",
                _ => "more has been seen since",
            };
            let were = agree(*count as usize, "was", "were");
            format!(
                "{} {were} seen as {verdict}{within} before: {why}",
                sockets(*count as usize)
            )
        };
        self.came_from.iter().map(line).collect()
    }
}

/// That nobody will close them.
fn says_forgotten(verdict: Verdict) -> bool {
    matches!(
        verdict,
        Verdict::NeverRead
            | Verdict::LostReference
            | Verdict::EofIgnored
            | Verdict::EventLost
            | Verdict::HiddenClosed
    )
}

fn seconds(ns: u64) -> f64 {
    (ns / 1_000_000) as f64 / 1000.0
}
