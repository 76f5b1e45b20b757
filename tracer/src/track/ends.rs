//! How sockets ended that had been stuck for longer than the threshold: what was told of them is over, and the
//! report says how.

use std::collections::BTreeMap;

use crate::model::{input::Transition, report::Ended};

/// Beyond it the oldest are forgotten: then nothing tells how those ended.
const KEPT: usize = 262_144;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub at: u64,
    pub how: Ended,
    /// How long the socket had been stuck.
    pub age: u64,
}

/// What became of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lives,
    /// In no inventory any more, but the word of its end may still be on its way.
    Awaited,
    Ended(End),
    /// Nothing told how.
    Gone,
}

#[derive(Debug, Default)]
pub struct Ends {
    by_cookie: BTreeMap<u64, End>,
}

impl Ends {
    pub fn note(&mut self, cookie: u64, end: End) {
        self.by_cookie.insert(cookie, end);
        if self.by_cookie.len() > KEPT {
            let oldest = self.by_cookie.iter().min_by_key(|(_, end)| end.at);
            if let Some(cookie) = oldest.map(|(cookie, _)| *cookie) {
                self.by_cookie.remove(&cookie);
            }
        }
    }

    pub fn of(&self, cookie: u64) -> Option<End> {
        self.by_cookie.get(&cookie).copied()
    }

    /// It is stuck again: `shutdown()` does not close a descriptor.
    pub fn revoke(&mut self, cookie: u64) {
        self.by_cookie.remove(&cookie);
    }

    pub fn forget_before(&mut self, at: u64) {
        self.by_cookie.retain(|_, end| end.at >= at);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_cookie.len()
    }
}

/// Of a socket that a process had open, or that waited to be accepted.
pub fn how(change: &Transition, has_socket: bool) -> Ended {
    match &change.task {
        Some(task) if task.exiting => Ended::Exit,
        // Nobody had it open: only a reset, or the end of its listener, frees it.
        None if !has_socket => Ended::Reset,
        _ => Ended::Closed,
    }
}
