//! The kernel's own coarse clock: how fast it ticks (`CONFIG_HZ`, which no interface tells), and what a
//! difference of it means.

use tracer_common::item::UNKNOWN;

/// What `CONFIG_HZ` can be on x86 and arm64 (kernel/Kconfig.hz).
const RATES: [u64; 4] = [100, 250, 300, 1000];
const SECOND: u64 = 1_000_000_000;

/// From the count of both clocks since boot: jiffies begin at five minutes before 2^32
/// (include/linux/jiffies.h:`INITIAL_JIFFIES`). `None` while several rates fit, around five minutes after boot.
pub fn per_second(jiffies: u64, monotonic: u64) -> Option<u64> {
    let off = |rate: u64| {
        let since_boot = jiffies.wrapping_sub((1 << 32) - 300 * rate) as i64;
        let monotonic = i64::try_from(monotonic / (SECOND / rate)).unwrap_or(i64::MAX);
        since_boot.abs_diff(monotonic) / rate
    };
    let mut by_fit = RATES.map(|rate| (off(rate), rate));
    by_fit.sort_unstable();
    let [(best, rate), (next, _), ..] = by_fit;
    let allowed = 5 + monotonic / SECOND / 100;
    (best <= allowed && next > 2 * best + 5).then_some(rate)
}

/// How long ago, at most. Beyond half the range of the 32 bits that are kept, the difference may be anything.
pub fn nanoseconds(passed: u32, rate: u64) -> Option<u64> {
    if passed == UNKNOWN || passed > u32::MAX / 2 {
        return None;
    }
    // The moment lies within a tick.
    Some((u64::from(passed) + 1) * SECOND / rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jiffies(rate: u64, seconds: u64) -> u64 {
        (1 << 32) - 300 * rate + seconds * rate
    }

    #[test]
    fn the_rate_shows_in_the_count_since_boot() {
        for rate in RATES {
            for seconds in [20, 200, 600, 86_400, 40 * 86_400] {
                // Some ticks are late, and the clock is slewed.
                let monotonic = (seconds + 1 + seconds / 10_000) * SECOND;
                assert_eq!(
                    per_second(jiffies(rate, seconds), monotonic),
                    Some(rate),
                    "{rate} {seconds}"
                );
            }
            assert_eq!(per_second(jiffies(rate, 300), 300 * SECOND), None);
        }
        assert_eq!(per_second(0, 86_400 * SECOND), None);
    }

    #[test]
    fn half_the_range_is_the_most_that_can_be_told() {
        assert_eq!(nanoseconds(249, 250), Some(SECOND));
        assert_eq!(nanoseconds(0, 1000), Some(SECOND / 1000));
        assert_eq!(nanoseconds(1 << 31, 1000), None);
        assert_eq!(nanoseconds(UNKNOWN, 1000), None);
    }
}
