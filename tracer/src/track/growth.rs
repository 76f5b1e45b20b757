//! The slope that tells a pool from a leak, from the moments at which sockets became stuck.

/// The longest stretch the slope is taken over: ten minutes.
const WINDOW: u64 = 600_000_000_000;
/// A shorter watch says nothing about minutes.
const SHORTEST: u64 = 5_000_000_000;

/// Sockets per minute that became stuck between `watched_from` (at most ten minutes back) and `until`, and
/// still are; `None` when that is too short to tell.
pub fn per_minute(stuck_since: &[u64], watched_from: u64, until: u64) -> Option<f64> {
    let from = start(watched_from, until)?;
    let born = between(stuck_since, from, until);
    Some(born as f64 * 60e9 / until.saturating_sub(from).max(1) as f64)
}

/// Does it go on? Births in the second half of that time, at no less than a third of the rate of the
/// first: a pool fills once, a leak does not stop.
pub fn still_growing(stuck_since: &[u64], watched_from: u64, until: u64) -> bool {
    let Some(from) = start(watched_from, until) else {
        return false;
    };
    let middle = from + until.saturating_sub(from) / 2;
    let early = between(stuck_since, from, middle);
    let late = between(stuck_since, middle, until);
    late >= 3 && late * 3 >= early
}

fn between(stuck_since: &[u64], from: u64, until: u64) -> usize {
    let born = stuck_since
        .iter()
        .filter(|birth| (from..until).contains(*birth));
    born.count()
}

fn start(watched_from: u64, until: u64) -> Option<u64> {
    let from = watched_from.max(until.saturating_sub(WINDOW));
    (until.saturating_sub(from) >= SHORTEST).then_some(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_pool_fills_once_and_a_leak_goes_on() {
        let pool: Vec<u64> = (0..10).map(|i| i * S / 10).collect();
        let leak: Vec<u64> = (0..60).map(|i| i * S).collect();
        assert!(!still_growing(&pool, 0, 60 * S));
        assert!(still_growing(&leak, 0, 60 * S));
        assert_eq!(per_minute(&leak, 0, 60 * S), Some(60.0));
    }

    #[test]
    fn a_short_watch_or_older_sockets_say_nothing() {
        assert_eq!(per_minute(&[S], 0, 2 * S), None);
        assert_eq!(per_minute(&[S, 2 * S], 50 * S, 110 * S), Some(0.0));
    }
}
