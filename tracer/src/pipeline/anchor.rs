//! Notices that the wall clock was set, or went on while the machine slept: what happens from then on is dated anew.

use jiff::{SignedDuration, Timestamp};

use super::{session::Session, trouble::Trouble};
use crate::{
    model::input::{Anchor, Input},
    probe::host::{Clock, mono_now_ns},
};

/// A clock that is only slewed takes `CLOCK_MONOTONIC` with it; reading both takes microseconds.
const STEP: SignedDuration = SignedDuration::from_millis(100);

impl Session<'_> {
    pub(super) fn anchor(&mut self) -> Result<(), Trouble> {
        let at = mono_now_ns();
        let wall = Clock::now().wall(at);
        if is_step(self.tracker.wall(at), wall) {
            self.feed(Input::Anchored(Anchor { at, wall }))?;
        }
        Ok(())
    }
}

/// What the clock shows is not what it should by what is known.
fn is_step(known: Option<Timestamp>, wall: Timestamp) -> bool {
    known.is_none_or(|known| wall.duration_since(known).abs() >= STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_to_either_side_is_one_and_what_reading_takes_is_none() {
        let known = Timestamp::from_second(1_800_000_000).unwrap();
        for (milliseconds, expected) in [
            (0, false),
            (99, false),
            (-99, false),
            (100, true),
            (-100, true),
            (86_400_000, true),
        ] {
            let wall = known.checked_add(SignedDuration::from_millis(milliseconds));
            assert_eq!(
                is_step(Some(known), wall.unwrap()),
                expected,
                "{milliseconds}"
            );
        }
        assert!(is_step(None, known));
    }
}
