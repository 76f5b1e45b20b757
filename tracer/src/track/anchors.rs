//! Which moment by the wall clock a moment of the events is. The wall clock can be set, and goes on while the
//! machine sleeps: what happened before keeps the time that was shown then.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::input::Anchor;

/// A host that sets its clock more often has no time that would be worth keeping.
const MOST: usize = 64;

/// In the order of the events' clock.
#[derive(Debug, Default)]
pub(super) struct Anchors(Vec<Anchor>);

impl Anchors {
    pub(super) fn note(&mut self, anchor: Anchor) {
        // A recording may hold them in any order.
        let place = self.0.partition_point(|known| known.at <= anchor.at);
        self.0.insert(place, anchor);
        if self.0.len() > MOST {
            // The first dates the beginning; the one after it dates what is forgotten first.
            self.0.remove(1);
        }
    }

    /// By the last anchor before it, else by the first.
    pub(super) fn wall(&self, at: u64) -> Option<Timestamp> {
        let before = self.0.partition_point(|known| known.at <= at);
        let anchor = self.0.get(before.saturating_sub(1))?;
        let shift = Duration::from_nanos(at.abs_diff(anchor.at));
        let moved = if at >= anchor.at {
            anchor.wall.checked_add(shift)
        } else {
            anchor.wall.checked_sub(shift)
        };
        Some(moved.unwrap_or(anchor.wall))
    }

    /// Of a moment that was read from the wall clock as it is now; may be before the clock began.
    pub(super) fn at(&self, wall: Timestamp) -> Option<i64> {
        let anchor = self.0.last()?;
        let ahead = i64::try_from(wall.duration_since(anchor.wall).as_nanos()).ok()?;
        i64::try_from(anchor.at).ok()?.checked_add(ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn anchor(at: u64, wall: i64) -> Anchor {
        Anchor {
            at: at * S,
            wall: Timestamp::from_second(wall).unwrap(),
        }
    }

    fn shown(anchors: &Anchors, at: u64) -> i64 {
        anchors.wall(at * S).unwrap().as_second()
    }

    #[test]
    fn what_happened_before_a_step_keeps_its_time() {
        let mut anchors = Anchors::default();
        assert_eq!(anchors.wall(5), None);
        anchors.note(anchor(100, 1_000));
        assert_eq!((shown(&anchors, 90), shown(&anchors, 110)), (990, 1_010));
        // Asleep for an hour, then set back.
        anchors.note(anchor(200, 4_700));
        anchors.note(anchor(300, 500));
        assert_eq!((shown(&anchors, 110), shown(&anchors, 199)), (1_010, 1_099));
        assert_eq!((shown(&anchors, 250), shown(&anchors, 310)), (4_750, 510));
        let now = Timestamp::from_second(505).unwrap();
        assert_eq!(anchors.at(now), Some(305 * S as i64));
    }

    #[test]
    fn a_clock_that_is_set_all_the_time_is_bounded_and_the_beginning_stays() {
        let mut anchors = Anchors::default();
        anchors.note(anchor(1, 1_000));
        for round in 0..10_000 {
            anchors.note(anchor(10 + round, round as i64 * 7));
        }
        assert_eq!(anchors.0.len(), MOST);
        assert_eq!(
            (shown(&anchors, 1), shown(&anchors, 10_009)),
            (1_000, 9_999 * 7)
        );
        assert!(
            anchors
                .wall(u64::MAX)
                .is_none_or(|wall| wall > Timestamp::UNIX_EPOCH)
        );
    }
}
