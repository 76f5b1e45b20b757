//! How much a process and its children have resident, and whether that rises.

use std::fs;

use crate::bench::proc;

/// MiB of the process and its children; `None` when it is gone.
pub fn of_family(pid: u32) -> Option<f64> {
    let mut sum = proc::resident(pid)?.now;
    for thread in proc::threads_of(pid) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"));
        let children = children.unwrap_or_default();
        let pids = children
            .split_ascii_whitespace()
            .filter_map(|word| word.parse().ok());
        sum += pids
            .filter_map(proc::resident)
            .map(|child| child.now)
            .sum::<u64>();
    }
    Some(sum as f64 / f64::from(1 << 20))
}

/// The straight line through samples that is nearest to them (least squares).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub mean: f64,
    /// A second.
    pub slope: f64,
    /// From the first sample to the last.
    pub seconds: f64,
}

impl Line {
    pub fn through(samples: &[(f64, f64)]) -> Option<Self> {
        let [first, .., last] = samples else {
            return None;
        };
        let count = samples.len() as f64;
        let at = samples.iter().map(|(at, _)| at).sum::<f64>() / count;
        let mean = samples.iter().map(|(_, value)| value).sum::<f64>() / count;
        let with: f64 = samples.iter().map(|(x, y)| (x - at) * (y - mean)).sum();
        let spread: f64 = samples.iter().map(|(x, _)| (x - at) * (x - at)).sum();
        (spread > 0.0).then(|| Self {
            mean,
            slope: with / spread,
            seconds: last.0 - first.0,
        })
    }

    pub fn rise(self) -> f64 {
        self.slope * self.seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rise_is_found_below_noise_and_none_where_there_is_none() {
        let noise = |n: u32| f64::from(n * 7 % 5) - 2.0;
        let rising: Vec<_> = (0..600)
            .map(|n| (f64::from(n), 50.0 + f64::from(n) / 60.0 + noise(n)))
            .collect();
        let line = Line::through(&rising).unwrap();
        assert!((line.slope * 60.0 - 1.0).abs() < 0.05, "{line:?}");
        assert!((line.rise() - 10.0).abs() < 0.5, "{line:?}");
        let flat: Vec<_> = (0..600).map(|n| (f64::from(n), 50.0 + noise(n))).collect();
        assert!(Line::through(&flat).unwrap().rise().abs() < 0.2);
        assert_eq!(Line::through(&[(1.0, 2.0)]), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(of_family(std::process::id()).unwrap() > 1.0);
        assert_eq!(of_family(u32::MAX), None);
    }
}
