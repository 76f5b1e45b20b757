//! Why a socket is stuck. Pure: reads the tracker, answers with a verdict and the facts behind it.
//!
//! One rule a file. The order goes from what the state alone proves to what needs history; the first
//! rule that can prove its case answers. `unknown` is an answer; a guess is not.

mod closed_at_exit;
mod context;
mod eof_ignored;
mod event_lost;
mod explanation;
mod fd_in_flight;
mod fd_limit;
mod fingerprint;
mod forecast;
mod gc_dependent;
mod group;
mod grouping;
mod half_close_not_forwarded;
mod hidden_closed;
mod holdings;
mod idle_pool;
mod in_part;
mod inherited_fd;
mod lost_reference;
mod never_accepted;
mod never_read;
mod owner_blocked;
mod pool;
mod process_stopped;
mod reading_paused;
mod report;
mod select_limit;
mod serving_thread;
mod siblings;
mod site;
mod socket_view;
#[cfg(test)]
mod tests;
mod unknown;
mod worker_starvation;

use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub use explanation::Explanation;
pub use fingerprint::SCHEME as FINGERPRINT_SCHEME;
pub use group::{EvidenceSource, Group};
pub use holdings::{Holding, Holdings};
pub use report::{DataRequests, Findings, Style, data_requests, report};
pub use socket_view::SocketView;

/// Finds the frame to blame in a stack; the policy of what is application code lies elsewhere.
pub type Blamer<'a> = &'a dyn Fn(&[crate::model::stack::Frame]) -> Option<usize>;

/// What a rule says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The rule's case is not proven.
    No,
    Yes(Proof),
    /// Not proven yet; at this moment it may be, and until then nothing else is either.
    AskAgainAt(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    pub confidence: Confidence,
    /// The stack that shows the cause, and by which sockets are grouped.
    pub evidence_source: EvidenceSource,
}

pub trait Rule: Sync {
    fn verdict(&self) -> Verdict;
    fn check(&self, view: &SocketView<'_>) -> Answer;
    fn severity(&self, group: &Group<'_>) -> Severity;
    fn explain(&self, group: &Group<'_>) -> Explanation;
    /// For `sockleak explain`: the same for every socket.
    fn verdict_doc(&self) -> VerdictDoc;
}

/// In decision order. What is over comes first; what does not run can neither accept nor close: it comes before all the rest.
/// What explains a crowd of sockets (a collector, a pool, a blocked thread) comes before what is said of
/// each by itself.
const RULES: &[&dyn Rule] = &[
    &closed_at_exit::ClosedAtExit,
    &process_stopped::ProcessStopped,
    &hidden_closed::HiddenClosed,
    &fd_limit::FdLimit,
    &never_accepted::NeverAccepted,
    &fd_in_flight::FdInFlight,
    &inherited_fd::InheritedFd,
    &gc_dependent::GcDependent,
    &reading_paused::ReadingPaused,
    &worker_starvation::WorkerStarvation,
    &owner_blocked::OwnerBlocked,
    &half_close_not_forwarded::HalfCloseNotForwarded,
    &eof_ignored::EofIgnored,
    &idle_pool::IdlePool,
    &event_lost::EventLost,
    &select_limit::SelectLimit,
    &never_read::NeverRead,
    &lost_reference::LostReference,
    &unknown::Unknown,
];

/// What each verdict means; the rule that gives it knows.
pub fn verdict_doc(verdict: Verdict) -> Option<VerdictDoc> {
    let rule = RULES.iter().find(|rule| rule.verdict() == verdict);
    rule.map(|rule| rule.verdict_doc())
}

/// The first rule that can prove its case, and when one that could not yet should be asked again. `None`
/// when the socket is not stuck.
fn classify(view: &SocketView<'_>) -> Option<(&'static dyn Rule, Proof, Option<u64>)> {
    if !view.is_stuck() {
        return None;
    }
    let mut again: Option<u64> = None;
    for rule in RULES {
        // What is said of each by itself would be wrong if the open question is answered with yes.
        if again.is_some() && rule.verdict() != Verdict::Unknown {
            continue;
        }
        match rule.check(view) {
            Answer::No => {}
            Answer::Yes(proof) => return Some((*rule, proof, again)),
            Answer::AskAgainAt(at) => again = Some(at),
        }
    }
    None
}

const fn yes(confidence: Confidence, evidence_source: EvidenceSource) -> Answer {
    Answer::Yes(Proof {
        confidence,
        evidence_source,
    })
}
