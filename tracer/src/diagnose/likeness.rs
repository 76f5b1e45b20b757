//! Whether a socket without a place may be of a finding: all that is compared, so that the thousands that agree in it are
//! compared once.

use std::net::SocketAddr;

use super::{
    SocketView,
    grouping::{Classified, frames_of},
    rules::Evidence,
};
use crate::model::{
    report::Direction,
    verdict::{Confidence, Verdict},
};

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Likeness<'a> {
    verdict: Verdict,
    pub program: Option<&'a str>,
    /// One that the kernel has ended is another case than one in `CLOSE_WAIT`, one whose end was taken by calls that
    /// nobody watches than one whose read is known, and one whose other side the program has ended than one that it
    /// has forgotten.
    pub states: [bool; 3],
    pub end: Option<End>,
    /// Another host may offer the same.
    pub service: Option<(bool, u16)>,
    pub stack: Option<u64>,
    server: Option<SocketAddr>,
    is_low: bool,
    is_unused: bool,
    is_cut_short: bool,
}

/// What it came in through (false), or where it goes to (true).
pub type End = (bool, SocketAddr);

impl<'a> Likeness<'a> {
    pub fn of((rule, view): &Classified<'a>) -> Self {
        let end = end(view);
        Self {
            verdict: rule.verdict(),
            program: view.process().and_then(|process| process.exe.as_deref()),
            states: [
                view.in_close_wait(),
                view.was_read_unseen(),
                view.was_passed_on(),
            ],
            end,
            service: end.map(|(is_remote, end)| (is_remote, end.port())),
            stack: stack_used(view),
            server: server(view),
            is_low: is_low(view),
            is_unused: view.is_unused(),
            is_cut_short: is_cut_short(view),
        }
    }

    /// It can take others in.
    pub fn is_host(&self) -> bool {
        self.verdict != Verdict::Unknown && self.program.is_some()
    }

    /// `has_place`: the finding of this one blames somebody.
    pub fn may_take_in(&self, has_place: bool, other: &Self) -> bool {
        let (own, of) = (self.verdict, other.verdict);
        (of == Verdict::Unknown && !other.denies(own)
            || has_place && of == own
            || has_place && other.is_low && self.is_used_alike(other)
            || other.may_be_parked() && own == Verdict::Parked)
            && self.is_host()
            && self.states == other.states
            && self.program == other.program
            && (self.end.is_some() && self.end == other.end
                || self.is_used_alike(other)
                    && self.service.is_some()
                    && self.service == other.service)
    }

    /// However many there are.
    pub fn is_surely_of(&self, other: &Self) -> bool {
        self.server.is_some() && self.server == other.server
            || other.is_cut_short && self.is_used_alike(other)
    }

    fn is_used_alike(&self, other: &Self) -> bool {
        self.stack.is_some() && self.stack == other.stack
    }

    /// What the verdict says is not true of it.
    fn denies(&self, verdict: Verdict) -> bool {
        verdict == Verdict::NeverRead && !self.is_unused
    }

    /// It left its epoll set, if it was in one, before that was watched.
    fn may_be_parked(&self) -> bool {
        self.verdict == Verdict::LostReference && self.is_low
    }
}

/// That both wait for the same server is proven of each, and is their cause, whoever asked.
pub fn waits_alike(own: &SocketView<'_>, other: &SocketView<'_>) -> bool {
    server(own).is_some() && server(own) == server(other)
}

/// The same calls used both last, as far out as the stack is known.
pub fn is_used_alike(own: &SocketView<'_>, other: &SocketView<'_>) -> bool {
    stack_used(own).is_some() && stack_used(own) == stack_used(other)
}

fn server(view: &SocketView<'_>) -> Option<SocketAddr> {
    match &view.proof.as_ref()?.evidence {
        Evidence::Upstream(upstream) => Some(upstream.connection.endpoints.remote),
        _ => None,
    }
}

fn stack_used(view: &SocketView<'_>) -> Option<u64> {
    let last = view.last_operation()?;
    let known = view.stack(Some(last))?;
    (last.stack != 0 && !known.truncated && !known.one_of_several).then_some(last.stack)
}

fn is_low(view: &SocketView<'_>) -> bool {
    let proof = view.proof.as_ref();
    proof.is_some_and(|proof| proof.confidence == Confidence::Low)
}

/// The stack that would tell its place ends before any function of the program, as where its runtime was not known yet.
fn is_cut_short(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let stack = view.stack(source.and_then(|source| source.operation(view)));
    stack.is_some_and(|stack| stack.truncated || stack.one_of_several)
}

fn end(view: &SocketView<'_>) -> Option<End> {
    let endpoints = &view.socket.endpoints();
    match view.direction()? {
        Direction::Connected => Some((true, endpoints.remote)),
        Direction::Accepted => Some((false, endpoints.local)),
        Direction::Unaccepted => None,
    }
}

/// Somebody is blamed.
pub fn has_place(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let frames = source.and_then(|source| frames_of(source, view));
    frames.is_some_and(|frames| view.context.blame(frames).is_some())
}
