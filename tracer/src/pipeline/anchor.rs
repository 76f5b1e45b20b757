//! Notices that the wall clock was set, or went on while the machine slept: what happens from then on is dated anew.

use jiff::SignedDuration;

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
        let known = self.tracker.wall(at);
        if known.is_none_or(|known| wall.duration_since(known).abs() >= STEP) {
            self.feed(Input::Anchored(Anchor { at, wall }))?;
        }
        Ok(())
    }
}
