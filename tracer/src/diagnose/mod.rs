//! Why a socket is stuck. Pure: reads the tracker, answers with a verdict and the facts behind it.
//!
//! One rule a file. The order goes from what the state alone proves to what needs history; the first
//! rule that can prove its case answers. `unknown` is an answer; a guess is not.

mod case;
mod eof_ignored;
mod fd_in_flight;
mod group;
mod hidden_closed;
mod idle_pool;
mod inherited_fd;
mod lost_reference;
mod never_accepted;
mod never_read;
mod process_stopped;
mod report;
mod siblings;
mod site;
#[cfg(test)]
mod tests;
mod unknown;
mod words;

use crate::model::verdict::{Confidence, Severity, Verdict};

pub use case::Case;
pub use group::{Group, Telling};
pub use report::{Demands, Style, demands, report};
pub use words::Words;

/// Finds the frame to blame in a stack; the policy of what is application code lies elsewhere.
pub type Blamer<'a> = &'a dyn Fn(&[crate::model::stack::Frame]) -> Option<usize>;

/// What a rule says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The rule's case is not proven.
    No,
    Yes(Proof),
    /// The socket is in use: not stuck before this moment.
    AskAgainAt(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub confidence: Confidence,
    /// The stack that shows the cause, and by which sockets are grouped.
    pub telling: Telling,
}

pub trait Rule: Sync {
    fn verdict(&self) -> Verdict;
    fn check(&self, case: &Case<'_>) -> Answer;
    fn severity(&self, group: &Group<'_>) -> Severity;
    fn explain(&self, group: &Group<'_>) -> Words;
}

/// In decision order. What does not run can neither accept nor close: it comes before all the rest.
const RULES: &[&dyn Rule] = &[
    &process_stopped::ProcessStopped,
    &hidden_closed::HiddenClosed,
    &never_accepted::NeverAccepted,
    &fd_in_flight::FdInFlight,
    &inherited_fd::InheritedFd,
    &eof_ignored::EofIgnored,
    &idle_pool::IdlePool,
    &never_read::NeverRead,
    &lost_reference::LostReference,
    &unknown::Unknown,
];

/// The first rule that can prove its case. `None` when the socket is not stuck, or not yet.
fn judge(case: &Case<'_>) -> Option<(&'static dyn Rule, Proof)> {
    if !case.is_stuck() {
        return None;
    }
    for rule in RULES {
        match rule.check(case) {
            Answer::No => {}
            Answer::Yes(proof) => return Some((*rule, proof)),
            Answer::AskAgainAt(_) => return None,
        }
    }
    None
}

const fn yes(confidence: Confidence, telling: Telling) -> Answer {
    Answer::Yes(Proof {
        confidence,
        telling,
    })
}
