//! When something was lost on its way: each loss is a stretch of time, so that a socket is judged by what was
//! lost during its life and not by what was lost a month before it.

use std::collections::VecDeque;

/// The two oldest become one beyond this.
const KEPT: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loss {
    from: u64,
    /// The inventory that told what existed after it; `None` until there was one.
    to: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Losses {
    /// Oldest first.
    stretches: VecDeque<Loss>,
    counted: u64,
    counted_at: u64,
}

impl Losses {
    /// `lost` is the sum so far: what came since the last count was lost since then.
    pub fn count(&mut self, lost: u64, now: u64) {
        if lost > self.counted {
            match self.stretches.back() {
                Some(Loss { to: None, .. }) => {}
                _ => self.stretches.push_back(Loss {
                    from: self.counted_at,
                    to: None,
                }),
            }
            self.counted = lost;
        }
        self.counted_at = now;
        self.keep_within_bound();
    }

    /// All that exists was listed: what was lost before is known again.
    pub fn repaired(&mut self, at: u64) {
        if let Some(open @ Loss { to: None, .. }) = self.stretches.back_mut() {
            open.to = Some(at);
        }
    }

    pub fn is_repaired(&self) -> bool {
        !matches!(self.stretches.back(), Some(Loss { to: None, .. }))
    }

    /// Nothing was lost at or after this moment.
    pub fn none_since(&self, at: u64) -> bool {
        let over_before = |loss: &Loss| loss.to.is_some_and(|to| to < at);
        self.stretches.iter().all(over_before)
    }

    /// What was over before any living socket began concerns none.
    pub fn forget_before(&mut self, oldest: u64) {
        self.stretches
            .retain(|loss| loss.to.is_none_or(|to| to >= oldest));
    }

    pub fn len(&self) -> usize {
        self.stretches.len()
    }

    /// A longer stretch doubts more and claims nothing.
    fn keep_within_bound(&mut self) {
        while self.stretches.len() > KEPT {
            let Some(oldest) = self.stretches.pop_front() else {
                return;
            };
            if let Some(next) = self.stretches.front_mut() {
                next.from = oldest.from;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_concerns_those_who_lived_through_it() {
        let mut losses = Losses::default();
        losses.count(0, 100);
        losses.count(3, 110);
        assert!(!losses.is_repaired() && !losses.none_since(500));
        losses.repaired(120);
        assert!(losses.is_repaired());
        assert!(!losses.none_since(105) && !losses.none_since(120));
        assert!(losses.none_since(121));
        // The same sum is no news.
        losses.count(3, 200);
        assert!(losses.is_repaired() && losses.none_since(121));
        losses.count(4, 300);
        assert!(!losses.none_since(250));
    }

    #[test]
    fn many_losses_become_long_ones_and_none_is_forgotten_too_early() {
        let mut losses = Losses::default();
        for n in 1..=1000 {
            losses.count(n, n * 10);
            losses.repaired(n * 10 + 1);
        }
        assert_eq!(losses.len(), KEPT);
        assert!(!losses.none_since(10));
        losses.forget_before(9_995);
        assert!(losses.len() < 3 && !losses.none_since(10_001));
    }
}
