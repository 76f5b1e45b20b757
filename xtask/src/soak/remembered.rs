//! How many there are of everything that `serve` remembers, by its own metrics, and whether that rises.

use std::collections::BTreeMap;

use super::memory::Line;

const FAMILY: &str = "sockleak_remembered{what=\"";
/// A rise from the first sample to the last: this part of the mean, and so many, is noise. What is never forgotten
/// rises by more than half of its mean, however short the run.
const PART: f64 = 0.3;
const NUMBER: f64 = 100.0;

#[derive(Default)]
pub struct Remembered(BTreeMap<String, Vec<(f64, f64)>>);

impl Remembered {
    pub fn note(&mut self, at: f64, metrics: &str) {
        let samples = metrics.lines().filter_map(|line| {
            let (what, value) = line.strip_prefix(FAMILY)?.split_once("\"}")?;
            Some((what.to_owned(), value.trim().parse().ok()?))
        });
        for (what, value) in samples {
            self.0.entry(what).or_default().push((at, value));
        }
    }

    /// A word for each kind whose number rises beyond noise.
    pub fn growing(&self) -> Vec<String> {
        let lines = self.0.iter();
        lines
            .filter_map(|(what, samples)| {
                let line = Line::through(samples)?;
                let rises = line.rise() > NUMBER + PART * line.mean;
                rises.then(|| format!("{what} by {:.0} a minute", line.slope * 60.0))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remembered(of: impl Fn(u32) -> (f64, f64)) -> Remembered {
        let mut remembered = Remembered::default();
        for n in 0..60 {
            let (stacks, sockets) = of(n);
            let text = format!(
                "HTTP/1.1 200 OK\n# TYPE sockleak_remembered gauge\nsockleak_remembered{{what=\"stacks\"}} {stacks}\n\
                 sockleak_remembered{{what=\"sockets\"}} {sockets}\nsockleak_events_total{{stage=\"seen\"}} 9\n"
            );
            remembered.note(f64::from(n), &text);
        }
        remembered
    }

    #[test]
    fn what_goes_on_growing_is_named_and_what_wavers_is_not() {
        let leaks = remembered(|n| (5000.0 + f64::from(n % 7) * 40.0, f64::from(n) * 13.0));
        assert_eq!(leaks.growing(), ["sockets by 780 a minute"]);
        let flat = remembered(|n| (5000.0 - f64::from(n), 40.0 + f64::from(n % 3)));
        assert!(flat.growing().is_empty());
    }
}
