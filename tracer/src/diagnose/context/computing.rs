//! What a running thread computes, by samples of it. Runtimes spin too, in a collector or for want of work: only where
//! a function of the program was on the stack at nearly all moments is it known that the program computes.

use std::{collections::HashMap, fmt};

use super::{Blamer, decoded::decoded, idle};
use crate::{
    model::{actor::Actor, input::Thread, quantity::span, samples::Moments, wait::Wait},
    track::Tracker,
};

/// A function of the program in which a thread was, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computes {
    function: String,
    moments: Moments,
    /// How old the last of the samples is, where that is worth a word.
    ago: Option<u64>,
}

impl fmt::Display for Computes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            function, moments, ..
        } = self;
        write!(f, "computes in {function} ({}", moments.inside)?;
        if moments.inside < moments.count {
            write!(f, " of {}", moments.count)?;
        }
        write!(f, " samples")?;
        if let Some(ago) = self.ago {
            write!(f, ", {} ago", span(ago))?;
        }
        write!(f, ")")
    }
}

/// By who computes.
pub(super) fn find(tracker: &Tracker, blamer: Blamer<'_>) -> HashMap<Actor, Computes> {
    let threads = tracker.threaded().flat_map(|pid| tracker.threads(pid));
    let computes = |thread: &Thread| Some((thread.actor(), of(thread, blamer, tracker.now())?));
    threads.filter_map(computes).collect()
}

fn of(thread: &Thread, blamer: Blamer<'_>, now: u64) -> Option<Computes> {
    /// What is younger was sampled for this report.
    const OLD: u64 = 10_000_000_000;
    let runs = matches!(*decoded(thread), Wait::Running);
    let moments = thread
        .sampled
        .filter(|moments| runs && moments.are_enough())?;
    if moments.inside == 0 || idle::is_idle(thread, blamer) {
        return None;
    }
    let own = blamer(&thread.stack)?;
    let callers = thread.stack.get(own + 1..).unwrap_or_default();
    // Below the program's only function lies a loop, or a runtime, that may do anything.
    if own > 0 && blamer(callers).is_none() {
        return None;
    }
    let frame = thread.stack.get(own)?;
    Some(Computes {
        function: frame.function.clone().unwrap_or_else(|| frame.place()),
        moments,
        ago: Some(now.saturating_sub(moments.to)).filter(|ago| *ago >= OLD),
    })
}
