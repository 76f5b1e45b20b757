//! One rule a file, one verdict a rule: may this socket be called that, by what evidence, and how is it said?

mod at_work;
mod closed_at_exit;
mod computing;
mod eof_ignored;
mod event_lost;
mod fd_in_flight;
mod fd_limit;
mod gc_dependent;
mod half_close_not_forwarded;
mod handed_over;
mod hidden_closed;
mod idle_pool;
mod inherited_fd;
pub mod looks;
mod lost_reference;
mod never_accepted;
mod never_read;
mod owner_blocked;
mod parked;
mod process_stopped;
mod reading_paused;
mod select_limit;
mod suspended;
mod unknown;
mod upstream_silent;
pub mod worker_starvation;

use std::rc::Rc;

use self::{
    at_work::AtWork, event_lost::Loss, looks::Looks, never_accepted::Acceptor, parked::Parked,
};
use super::{
    EvidenceSource, Explanation, Group, SocketView,
    context::{
        pairs::{Partner, Upstream},
        pools::Pool,
    },
    left_loop::LeftLoop,
    listeners::Handling,
    openers::Opening,
};
use crate::model::{
    actor::Actor,
    input::Thread,
    socket::LastOperation,
    stack::Frame,
    verdict::{Confidence, Severity, Verdict, VerdictDoc},
};

pub trait Rule: Sync {
    fn verdict(&self) -> Verdict;
    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a>;
    fn severity(&self, group: &Group<'_>) -> Severity;
    /// Words what [`Rule::check`] found of the oldest socket of the group.
    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation;
    /// For `sockleak explain`: the same for every socket.
    fn verdict_doc(&self) -> VerdictDoc;
}

/// What a rule says of a socket.
#[derive(Clone, Debug)]
pub enum Answer<'a> {
    /// The rule's case is not proven.
    No,
    Yes(Proof<'a>),
    /// Not proven yet; at this moment it may be, and until then nothing else is either.
    AskAgainAt(u64),
}

#[derive(Clone, Debug)]
pub struct Proof<'a> {
    pub confidence: Confidence,
    /// The stack that shows the cause, and by which sockets are grouped.
    pub evidence_source: EvidenceSource,
    pub evidence: Evidence<'a>,
    /// The same for thousands of sockets.
    pub looks: Rc<Looks>,
    /// It is that of `unknown`.
    pub is_of_nothing: bool,
    /// Whoever listens to the socket is to blame, for nobody on the stack is.
    pub handling: Option<Handling<'a>>,
    /// Whoever opened the socket is.
    pub opening: Option<Opening<'a>>,
}

/// What a rule found, beside what the socket itself shows: boxed where it is much, for mostly it is nothing.
#[derive(Clone, Debug)]
pub enum Evidence<'a> {
    Socket,
    AtWork(Box<AtWork<'a>>),
    Acceptor(Box<Acceptor<'a>>),
    Pool(&'a Pool<'a>),
    Upstream(Box<Upstream<'a>>),
    Relay(&'a Partner),
    Parked(Box<Parked>),
    LeftLoop(Box<LeftLoop>),
    Loss(Loss),
    Collector(String),
}

impl<'a> Proof<'a> {
    /// Facts of the socket itself.
    fn of_socket(confidence: Confidence, evidence_source: EvidenceSource) -> Self {
        Self {
            confidence,
            evidence_source,
            evidence: Evidence::Socket,
            looks: Rc::default(),
            is_of_nothing: false,
            handling: None,
            opening: None,
        }
    }

    fn earned(looks: Looks, evidence_source: EvidenceSource, evidence: Evidence<'a>) -> Self {
        Self {
            confidence: looks.confidence(),
            evidence_source,
            evidence,
            looks: Rc::new(looks),
            is_of_nothing: false,
            handling: None,
            opening: None,
        }
    }

    fn at_most(mut self, confidence: Confidence) -> Self {
        self.confidence = self.confidence.min(confidence);
        self
    }

    /// The thread that shows the cause, where it is what a thread does now.
    pub fn thread(&self) -> Option<&'a Thread> {
        match &self.evidence {
            Evidence::AtWork(work) => Some(work.thread),
            Evidence::Acceptor(acceptor) => acceptor.thread,
            Evidence::Pool(pool) => pool.busy.first().copied(),
            _ => None,
        }
    }

    /// The one whose stack shows it: where that one only waits for others, one of those.
    pub fn shows(&self) -> Option<&'a Thread> {
        match &self.evidence {
            Evidence::AtWork(work) => work.behind.map(|behind| behind.thread),
            _ => None,
        }
        .or_else(|| self.thread())
    }

    /// Where a server was asked.
    pub const fn asked(&self) -> Option<LastOperation> {
        match &self.evidence {
            Evidence::Upstream(upstream) => Some(upstream.operation),
            _ => None,
        }
    }

    /// Where it was taken out of its event loop.
    pub fn taken_out(&self) -> Option<LastOperation> {
        match &self.evidence {
            Evidence::Parked(parked) => parked.left.taken_out(),
            Evidence::LeftLoop(left) => left.taken_out(),
            _ => None,
        }
    }

    /// A stack that shows the cause, where it is neither a thread's nor that of an operation on the socket; or functions of
    /// which one is.
    pub fn frames(&self) -> Option<&'a [Frame]> {
        match &self.evidence {
            Evidence::Acceptor(acceptor) => acceptor.frames,
            _ => (self.handling.map(|handling| handling.frames()))
                .or(self.opening.map(Opening::frames)),
        }
    }

    /// All threads that show it.
    pub fn threads(&self) -> Vec<Actor> {
        if let Evidence::Pool(pool) = &self.evidence {
            return pool.busy.iter().map(|thread| thread.actor()).collect();
        }
        let mut actors: Vec<Actor> = Vec::new();
        for thread in self.thread().into_iter().chain(self.shows()) {
            if !actors.contains(&thread.actor()) {
                actors.push(thread.actor());
            }
        }
        actors
    }
}

fn yes<'a>(confidence: Confidence, evidence_source: EvidenceSource) -> Answer<'a> {
    Answer::Yes(Proof::of_socket(confidence, evidence_source))
}

/// In decision order. What is over comes first; what does not run can neither accept nor close: it comes before
/// all the rest. Then what explains a crowd of sockets (a collector, a pool, a blocked thread, a silent server),
/// and what is said of each by itself last.
const RULES: &[&dyn Rule] = &[
    &closed_at_exit::ClosedAtExit,
    &process_stopped::ProcessStopped,
    // A copy that was inherited keeps what has ended as well.
    &inherited_fd::InheritedFd,
    &hidden_closed::HiddenClosed,
    &fd_limit::FdLimit,
    &never_accepted::NeverAccepted,
    &fd_in_flight::FdInFlight,
    &gc_dependent::GcDependent,
    &reading_paused::ReadingPaused,
    &worker_starvation::WorkerStarvation,
    &owner_blocked::OwnerBlocked,
    &half_close_not_forwarded::HalfCloseNotForwarded,
    &upstream_silent::UpstreamSilent,
    &parked::ParkedRule,
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
pub fn classify<'a>(view: &SocketView<'a>) -> Option<(&'static dyn Rule, Proof<'a>, Option<u64>)> {
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
            Answer::Yes(proof) if rule.verdict() == Verdict::Unknown => {
                return Some((*rule, proof, again));
            }
            Answer::Yes(proof) => return Some((*rule, proof.or_opener(view), again)),
            Answer::AskAgainAt(at) => again = Some(at),
        }
    }
    None
}
