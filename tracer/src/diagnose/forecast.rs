//! When a leak that goes on uses up the process's descriptors, with the arithmetic.

use super::{Group, explanation};
use crate::track::growth::Growth;

pub struct Forecast {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    sentence: String,
}

impl Forecast {
    pub fn evidence(&self, wall: impl std::fmt::Display) -> String {
        format!("{}, at {wall}", self.sentence)
    }
}

/// `None` for what does not grow, holds no descriptors, or has no limit.
pub fn of(group: &Group<'_>) -> Option<Forecast> {
    let process = group.process?;
    let (open, limit) = (process.open_fds?, process.fd_limit?);
    // Descriptors are the process's own: others that share the site use up theirs.
    let own = group.views.iter().filter(|view| view.holds(process.pid));
    let stuck_since: Vec<u64> = own.map(|view| view.socket.since).collect();
    let Growth::Steady(rate) = group.growth_of(&stuck_since) else {
        return None;
    };
    if open >= limit {
        return None;
    }
    let minutes = (limit - open) as f64 / rate;
    let ns = (minutes * 60e9) as u64;
    Some(Forecast {
        at: group.now.saturating_add(ns),
        sentence: format!(
            "{open} of {limit} descriptors are open: at {rate:.1} more a minute the process runs out in \
             {} = ({limit} - {open}) / {rate:.1} per minute",
            explanation::span(ns)
        ),
    })
}
