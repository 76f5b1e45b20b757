//! What the helper was at when it failed, and whether to try again. Twice is no accident: the file,
//! or the stacks of the process, are not sent any more. Reads no clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::symbolize::maps::Start;
use crate::symbolize::open::FileId;

const FAILURES: u32 = 2;
/// More than a machine has broken files; beyond it all are tried again.
const MAX_SUSPECTS: usize = 1024;

/// The first start anew is at once, so that an accident costs one stack; then a pause that doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// After so long without a failure, the next one counts as the first.
const FORGIVEN: Duration = Duration::from_mins(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Suspect {
    File(FileId),
    Stacks(u32, Start),
}

#[derive(Default)]
pub(super) struct Suspects {
    failures: HashMap<Suspect, u32>,
}

impl Suspects {
    pub(super) fn add(&mut self, suspect: Suspect) {
        if self.failures.len() >= MAX_SUSPECTS && !self.failures.contains_key(&suspect) {
            self.failures.clear();
        }
        *self.failures.entry(suspect).or_default() += 1;
    }

    pub(super) fn refuses(&self, suspect: Suspect) -> bool {
        let failures = self.failures.get(&suspect);
        failures.is_some_and(|failures| *failures >= FAILURES)
    }
}

#[derive(Default)]
pub(super) struct Rest {
    failures: u32,
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Rest {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    pub(super) fn failed(&mut self, now: Instant) {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) >= FORGIVEN)
        {
            self.failures = 0;
        }
        self.last = Some(now);
        let doubled = self.failures.checked_sub(1);
        let pause = doubled.map(|times| FIRST_PAUSE.saturating_mul(1 << times.min(10)));
        self.until = pause.map(|pause| now + pause.min(LONGEST_PAUSE));
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_failure_is_one_too_many() {
        let mut suspects = Suspects::default();
        let one = Suspect::Stacks(7, Start::from_boot_ns(1_000_000_000).unwrap());
        let other = Suspect::Stacks(8, Start::from_boot_ns(1_000_000_000).unwrap());
        suspects.add(one);
        suspects.add(other);
        assert!(!suspects.refuses(one));
        suspects.add(one);
        assert!(suspects.refuses(one) && !suspects.refuses(other));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_end() {
        let mut rest = Rest::default();
        let mut now = Instant::now();
        assert!(rest.is_over(now));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            rest.failed(now);
            let until = rest.until.unwrap_or(now);
            pauses.push((until - now).as_millis());
            assert!(rest.is_over(until));
            now = until;
        }
        assert_eq!(pauses[..5], [0, 500, 1000, 2000, 4000]);
        assert_eq!(pauses[9], 60_000);
        now += FORGIVEN;
        rest.failed(now);
        assert!(rest.is_over(now));
    }
}
