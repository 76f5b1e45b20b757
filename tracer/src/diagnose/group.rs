//! Sockets of one executable with the same verdict and the same place in its code.

use super::{Rule, SocketView, listeners::Handling};
use crate::{
    model::{
        input::Process,
        report::Direction,
        socket::LastOperation,
        stack::Frame,
        verdict::{Confidence, Verdict},
    },
    track::growth::Growth,
};

/// Which stack of a socket shows the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EvidenceSource {
    Opened,
    LastUsed,
    Eof,
    /// What the thread that should accept does now.
    Holders,
    /// What the workers of a starving pool do now.
    Pool,
    /// What the thread that serves the socket does now.
    ServingThread,
    /// Where a server was asked that does not answer.
    Asked,
    /// Where it was taken out of its event loop.
    TakenOut,
    /// Another group of the same process: this one is its victim.
    Accused,
    Nothing,
}

impl EvidenceSource {
    /// Part of every site's id: these strings never change, whatever the variants are called.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Opened => "Opened",
            Self::LastUsed => "LastUsed",
            Self::Eof => "Eof",
            Self::Holders => "Holders",
            Self::Pool => "Pool",
            Self::ServingThread => "Owner",
            Self::Asked => "Asked",
            Self::TakenOut => "TakenOut",
            Self::Accused => "Accused",
            Self::Nothing => "Nothing",
        }
    }

    pub fn operation(self, view: &SocketView<'_>) -> Option<LastOperation> {
        let history = *view.socket.history;
        match self {
            Self::Opened => history.opened,
            Self::LastUsed => history.last_use().or(history.opened),
            Self::Eof => history.eof,
            // A running thread has no stack to read: what it did last is as near as one can get.
            Self::ServingThread => view.last_operation(),
            Self::Asked => view.proof.as_ref()?.asked(),
            Self::TakenOut => view.proof.as_ref()?.taken_out(),
            Self::Holders | Self::Pool | Self::Accused | Self::Nothing => None,
        }
    }
}

/// The group of the same process with most sockets.
#[derive(Clone, Copy)]
pub struct Accused<'a> {
    pub verdict: Verdict,
    pub count: usize,
    pub blamed: Option<&'a Frame>,
}

pub struct Group<'a> {
    pub rule: &'static dyn Rule,
    pub evidence_source: EvidenceSource,
    /// The weakest of its sockets' confidences.
    pub confidence: Confidence,
    /// Oldest first; never empty.
    pub views: Vec<SocketView<'a>>,
    /// The process with most of the sockets.
    pub process: Option<&'a Process>,
    pub processes: u32,
    /// The stack that shows the cause of the oldest socket that has one.
    pub frames: Option<&'a [Frame]>,
    pub blamed: Option<&'a Frame>,
    /// That is by who listens to the sockets, and it was on no stack.
    pub handling: Option<Handling<'a>>,
    /// That is by who opened them, which the stack that shows the cause does not tell.
    pub by_opening: bool,
    pub accused: Option<Accused<'a>>,
    pub watched_from: u64,
    pub live: bool,
    pub now: u64,
}

impl<'a> Group<'a> {
    pub fn count(&self) -> usize {
        self.views.len()
    }

    pub fn oldest(&self) -> Option<&SocketView<'a>> {
        self.views.first()
    }

    /// Those that are surely stuck.
    pub fn members(&self) -> Vec<u64> {
        let sure = self.views.iter().filter(|view| !view.is_undecided());
        sure.map(|view| view.socket.cookie).collect()
    }

    pub fn stuck_since(&self) -> Vec<u64> {
        self.views.iter().map(|view| view.socket.since).collect()
    }

    /// What came later cannot be among them yet: it is younger than the threshold.
    fn classified_until(&self) -> u64 {
        let min_age = self.oldest().map_or(0, |view| view.min_age);
        self.now.saturating_sub(min_age)
    }

    pub fn growth(&self) -> Growth {
        self.growth_of(&self.stuck_since())
    }

    /// Of a part of them.
    pub fn growth_of(&self, stuck_since: &[u64]) -> Growth {
        if !self.live {
            return Growth::TooShort;
        }
        Growth::of(stuck_since, self.watched_from, self.classified_until())
    }

    pub fn growth_per_minute(&self) -> Option<f64> {
        self.growth().per_minute()
    }

    pub fn still_growing(&self) -> bool {
        self.growth().is_steady()
    }

    /// The direction all its sockets share.
    pub fn direction(&self) -> Option<Direction> {
        let first = self.oldest()?.direction();
        self.views
            .iter()
            .all(|view| view.direction() == first)
            .then_some(first)?
    }

    /// `handle_client`, or a place in a module; for sentences about what was called where.
    pub fn function(&self) -> Option<String> {
        let is_on_stack = self.handling.is_none() && !self.by_opening;
        let on_stack = self.blamed.filter(|_| is_on_stack);
        on_stack.map(|frame| frame.function.clone().unwrap_or_else(|| frame.place()))
    }

    pub fn local_port(&self) -> Option<u16> {
        self.oldest()
            .map(|view| view.socket.endpoints().local.port())
    }
}
