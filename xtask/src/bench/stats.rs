//! Medians, and how sure they are: a bootstrap interval that is the same for the same figures.

/// A median and the interval that holds it in 95 of 100 resamples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

const RESAMPLES: usize = 10_000;
const SEED: u64 = 0x5eed_50c6_1eaf_2024;

impl Estimate {
    /// `None` without figures.
    pub fn of(values: &[f64]) -> Option<Self> {
        let median = median(values)?;
        let mut random = Random::new(SEED);
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| {
                let resample: Vec<f64> = values
                    .iter()
                    .filter_map(|_| values.get(random.below(values.len())).copied())
                    .collect();
                self::median(&resample)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * (medians.len() - 1) as f64).round() as usize;
            medians.get(index).copied()
        };
        Some(Self {
            median,
            low: at(0.025)?,
            high: at(0.975)?,
        })
    }

    /// The whole interval lies below `limit`, above it, or on both sides.
    pub fn against(&self, limit: f64) -> Verdict {
        if self.high <= limit {
            Verdict::Met
        } else if self.low > limit {
            Verdict::Missed
        } else {
            Verdict::Open {
                median_meets: self.median <= limit,
            }
        }
    }
}

/// How an estimate compares with a limit it should not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Met,
    Missed,
    /// The interval holds the limit: more rounds, or a quieter machine, would tell.
    Open {
        median_meets: bool,
    },
}

pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied()?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted.get(middle - 1).copied()?, upper))
}

/// xorshift64*: enough to shuffle arms and draw resamples.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// An index below `bound`; 0 when there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        (drawn as usize).checked_rem(bound).unwrap_or(0)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_interval_holds_the_median_and_tightens_with_figures() {
        let few: Vec<f64> = (0..8).map(f64::from).collect();
        let many: Vec<f64> = (0..200).map(|n| f64::from(n) / 25.0).collect();
        let few = Estimate::of(&few).unwrap();
        let many = Estimate::of(&many).unwrap();
        for estimate in [few, many] {
            assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
        }
        assert!(many.high - many.low < few.high - few.low);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(
            Estimate::of(&[1.0, 5.0, 3.0]),
            Estimate::of(&[5.0, 3.0, 1.0])
        );
    }

    #[test]
    fn a_limit_inside_the_interval_decides_nothing() {
        let estimate = Estimate {
            median: 2.0,
            low: 1.0,
            high: 3.0,
        };
        assert_eq!(estimate.against(3.0), Verdict::Met);
        assert_eq!(estimate.against(0.5), Verdict::Missed);
        assert_eq!(estimate.against(2.5), Verdict::Open { median_meets: true });
        assert_eq!(
            estimate.against(1.5),
            Verdict::Open {
                median_meets: false
            }
        );
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(7).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
