//! Sums over all plays of all cases, with how sure they make us. Pure.

use super::judge::{Class, Judgement};
use super::play::Played;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub right: u64,
    pub total: u64,
}

impl Share {
    fn add(&mut self, right: bool, weight: u64) {
        self.total += weight;
        self.right += u64::from(right) * weight;
    }

    /// Wilson's score interval at 95 % (Wilson 1927, JASA 22:209): holds for few cases and extreme shares.
    pub fn interval(self) -> Option<(f64, f64)> {
        const Z: f64 = 1.959_964;
        if self.total == 0 {
            return None;
        }
        let n = self.total as f64;
        let share = self.right as f64 / n;
        let middle = share + Z * Z / (2.0 * n);
        let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        let whole = 1.0 + Z * Z / n;
        Some((
            ((middle - half) / whole).max(0.0),
            ((middle + half) / whole).min(1.0),
        ))
    }

    /// `57/60 (95 % interval 86 to 98 %)`
    pub fn text(self) -> String {
        match self.interval() {
            None => "none".to_owned(),
            Some((low, high)) => format!(
                "{}/{} (95 % interval {:.0} to {:.0} %)",
                self.right,
                self.total,
                (low * 100.0).floor(),
                (high * 100.0).ceil()
            ),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// RIGHT, VERDICT, HONEST, WRONG.
    pub outcomes: [u64; 4],
    pub skipped: u64,
    /// Findings of high, and of medium confidence, whose verdict is acceptable.
    pub high: Share,
    pub medium: Share,
    /// Sockets in RIGHT and VERDICT cases that are told with high, and with medium or high confidence.
    pub sockets_high: Share,
    pub sockets_sure: Share,
}

impl Tally {
    pub fn count(&mut self, played: &Played) {
        match played {
            Played::Skipped(_) => self.skipped += 1,
            Played::Judged(judgement) => self.add(judgement),
        }
    }

    pub fn add(&mut self, judgement: &Judgement) {
        if let Some(count) = self.outcomes.get_mut(judgement.outcome as usize) {
            *count += 1;
        }
        for finding in &judgement.findings {
            match finding.confidence.as_str() {
                "high" => self.high.add(finding.is_right(), 1),
                "medium" => self.medium.add(finding.is_right(), 1),
                _ => {}
            }
            if judgement.outcome <= Class::Verdict {
                let high = finding.confidence == "high";
                self.sockets_high.add(high, finding.sockets);
                self.sockets_sure.add(finding.is_sure(), finding.sockets);
            }
        }
    }

    pub fn played(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    pub fn wrong(&self) -> u64 {
        let [.., wrong] = self.outcomes;
        wrong
    }

    /// RIGHT and VERDICT of all cases.
    pub fn right(&self) -> Share {
        let [right, verdict, ..] = self.outcomes;
        Share {
            right: right + verdict,
            total: self.played(),
        }
    }

    pub fn line(&self) -> String {
        let [right, verdict, honest, wrong] = self.outcomes;
        let skipped = match self.skipped {
            0 => String::new(),
            skipped => format!(" (skipped {skipped})"),
        };
        format!(
            "right {right}, verdict {verdict}, honest {honest}, wrong {wrong} of {}{skipped}\n\
             cause right: {}\n\
             answers of high confidence that are right: {}; of medium: {}\n\
             sockets of these cases told with high confidence: {}; with medium or high: {}",
            self.played(),
            self.right().text(),
            self.high.text(),
            self.medium.text(),
            self.sockets_high.text(),
            self.sockets_sure.text(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = Share {
            right: 8,
            total: 10,
        }
        .interval()
        .unwrap();
        assert!((low - 0.490).abs() < 0.001 && (high - 0.943).abs() < 0.001);
        let (_, all) = Share { right: 5, total: 5 }.interval().unwrap();
        assert!((all - 1.0).abs() < 1e-9);
        assert_eq!(Share::default().interval(), None);
        assert_eq!(Share::default().text(), "none");
    }
}
