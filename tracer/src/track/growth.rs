//! The slope that tells a pool from a leak, from the moments at which sockets became stuck. One answer for all who
//! ask, so that a rate and a word about it never disagree.

/// The longest stretch the slope is taken over: ten minutes.
const WINDOW: u64 = 600_000_000_000;
/// A shorter watch says nothing about what goes on: five minutes.
const SHORTEST: u64 = 300_000_000_000;
const PARTS: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Growth {
    TooShort,
    /// Nothing came in the later half.
    Stopped,
    /// Something still comes, at this rate per minute, but a burst or a pool that fills looks the same.
    Uneven(f64),
    /// It came, and goes on coming, at this rate per minute.
    Steady(f64),
}

impl Growth {
    /// Of sockets that became stuck between `watched_from` (at most ten minutes back) and `until`, and still are.
    pub fn of(stuck_since: &[u64], watched_from: u64, until: u64) -> Self {
        let from = watched_from.max(until.saturating_sub(WINDOW));
        let length = until.saturating_sub(from);
        if length < SHORTEST {
            return Self::TooShort;
        }
        let mut came = [0_u64; PARTS as usize];
        let within = stuck_since.iter().filter(|at| (from..until).contains(*at));
        for at in within {
            let part = at.saturating_sub(from) * PARTS / length;
            if let Some(came) = came.get_mut(part as usize) {
                *came += 1;
            }
        }
        let [first, second, third, fourth] = came;
        let (early, late) = (first + second, third + fourth);
        if late == 0 {
            return Self::Stopped;
        }
        let per_minute = |number: u64, length: u64| number as f64 * 60e9 / length as f64;
        // A pool fills once, a burst comes at once; a leak does neither.
        let even = third > 0 && fourth * 4 >= third && third * 4 >= fourth;
        if late >= 3 && late * 3 >= early && even {
            Self::Steady(per_minute(early + late, length))
        } else {
            Self::Uneven(per_minute(late, length / 2))
        }
    }

    /// `None` when that is too short to tell.
    pub fn per_minute(self) -> Option<f64> {
        match self {
            Self::TooShort => None,
            Self::Stopped => Some(0.0),
            Self::Uneven(rate) | Self::Steady(rate) => Some(rate),
        }
    }

    pub fn is_steady(self) -> bool {
        matches!(self, Self::Steady(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_pool_fills_once_and_a_leak_goes_on() {
        let pool: Vec<u64> = (0..10).map(|i| i * S / 10).collect();
        let leak: Vec<u64> = (0..400).map(|i| i * S).collect();
        assert_eq!(Growth::of(&pool, 0, 400 * S), Growth::Stopped);
        assert_eq!(Growth::of(&leak, 0, 400 * S), Growth::Steady(60.0));
    }

    #[test]
    fn less_than_five_minutes_are_too_short_to_tell() {
        let leak: Vec<u64> = (0..299).map(|i| i * S).collect();
        assert_eq!(Growth::of(&leak, 0, 299 * S), Growth::TooShort);
        assert_eq!(Growth::of(&leak, 0, 299 * S).per_minute(), None);
    }

    #[test]
    fn a_burst_is_no_trend_and_older_sockets_are_none() {
        let burst = |at: u64| (0..57).map(|i| at * S + i).collect::<Vec<_>>();
        for at in [10, 250, 310, 390] {
            assert!(!Growth::of(&burst(at), 0, 400 * S).is_steady(), "{at}");
        }
        assert_eq!(Growth::of(&[S, 2 * S], 50 * S, 450 * S), Growth::Stopped);
    }

    /// What a report shows as a rate it must not call an end of growth, and the other way round.
    #[test]
    fn a_rate_above_zero_is_never_called_stopped() {
        for shape in 0..256_u64 {
            let part = |n: u64| (0..shape >> (n * 2) & 3).map(move |i| (n * 100 + 10 + i) * S);
            let stuck_since: Vec<u64> = (0..4).flat_map(part).collect();
            let growth = Growth::of(&stuck_since, 0, 400 * S);
            let rate = growth.per_minute().unwrap();
            assert_eq!(rate == 0.0, growth == Growth::Stopped, "{stuck_since:?}");
        }
    }
}
