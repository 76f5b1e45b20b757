//! The rate limit of the web config file: so many requests at once, then one in each interval, for all clients
//! together, as exporter-toolkit has it. Time comes as an argument.

use std::time::Instant;

use crate::serve::config::RateLimit;

#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            limit,
            tokens: f64::from(limit.burst),
            at: now,
        }
    }

    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let gained = passed / self.limit.interval.as_secs_f64().max(1e-9);
        self.tokens = (self.tokens + gained).min(f64::from(self.limit.burst));
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_one_in_each_interval() {
        let start = Instant::now();
        let limit = RateLimit {
            interval: Duration::from_secs(1),
            burst: 3,
        };
        let mut bucket = Bucket::new(limit, start);
        let first: Vec<bool> = (0..4).map(|_| bucket.allows(start)).collect();
        assert_eq!(first, [true, true, true, false]);
        let later = start + Duration::from_millis(1100);
        assert!(bucket.allows(later) && !bucket.allows(later));
        let much_later = start + Duration::from_hours(1);
        assert_eq!((0..9).filter(|_| bucket.allows(much_later)).count(), 3);
    }
}
