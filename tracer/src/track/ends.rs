//! How sockets ended that had been stuck for longer than the threshold: what was told of them is over, and the
//! report says how.

use std::collections::BTreeMap;

use tracer_common::state::CLOSE;

use super::{Shown, Socket, Tracker, socket::AtExit};
use crate::model::{
    input::{Task, Transition},
    report::Ended,
    socket::History,
};

/// Beyond it the oldest are forgotten: then nothing tells how those ended.
const KEPT: usize = 262_144;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub at: u64,
    pub how: Ended,
    /// How long the socket had been stuck.
    pub age: u64,
    /// Nobody had read or written, to the last.
    pub untouched: bool,
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

    pub fn len(&self) -> usize {
        self.by_cookie.len()
    }
}

impl Tracker {
    /// A stuck socket that goes because its process exits was never closed by the program.
    pub(super) fn note_end(&mut self, socket: Option<Box<Socket>>, change: &Transition) {
        let Some(mut socket) = socket.filter(|socket| socket.is_stuck_state()) else {
            return;
        };
        let age = socket.age(change.at);
        self.end(change, &socket, age);
        let Some(task) = change.task.as_ref().filter(|task| task.exiting) else {
            self.pass(*socket, change, age);
            return;
        };
        let header = self.run_header.as_ref();
        let exit_age = header.and_then(|header| header.exit_age_ns);
        let least = exit_age.or(header.map(|header| header.min_age_ns));
        // A tree that is followed has nothing that only the iterators could show.
        let is_real = exit_age.is_some() || socket.shown != Shown::Never;
        socket.has_socket |= change.has_socket;
        // What the program does for its own descriptors is done for these as well: only how long they lay there tells.
        let is_not_its_own = socket.is_unaccepted() || socket.is_copy_of(task.pid);
        let least = least.max(
            header
                .filter(|_| is_not_its_own)
                .map(|header| header.min_age_ns),
        );
        if !is_real || age < least.unwrap_or_default() || was_unheard_of(&socket, task, age) {
            self.pass(*socket, change, age);
            return;
        }
        socket.recv_q = change.recv_q.unwrap_or(socket.recv_q);
        if self.ended.len() >= self.bounds.ended {
            self.unfollowed += 1;
            self.still_unfollowed += 1;
            return;
        }
        // The pid may be another process's by the time of the report.
        let holders = socket.holders.iter().map(|holder| holder.pid);
        let holder = holders
            .clone()
            .find(|pid| *pid == task.pid)
            .or(holders.min())
            .or(Some(task.pid));
        // It lived when the peer left; one that had ended by then only had the same pid.
        let since = socket.since;
        let process = holder.and_then(|pid| self.processes.process_then(pid, since).cloned());
        socket.ended = Some(Box::new(AtExit {
            at: change.at,
            by: Some(task.pid),
            process,
        }));
        self.ended.insert(socket.cookie, socket);
    }

    /// It was stuck for long enough to be told of, which the next report may do as well as an earlier one.
    pub(super) fn pass(&mut self, mut socket: Socket, change: &Transition, age: u64) {
        let min_age = self.run_header().map_or(0, |header| header.min_age_ns);
        // Of what nobody looked at, what the kernel holds for itself cannot be told from the rest.
        let may_be_kernels =
            socket.shown == Shown::Never && change.has_socket && change.task.is_none();
        if age < min_age || may_be_kernels {
            return;
        }
        if self.passed.len() >= self.bounds.ended {
            self.unfollowed += 1;
            self.still_unfollowed += 1;
            return;
        }
        socket.ended = Some(Box::new(AtExit {
            at: change.at,
            by: change.task.as_ref().map(|task| task.pid),
            process: None,
        }));
        self.passed.note(socket);
    }

    /// Of what was stuck for long enough to be told of.
    pub(super) fn end(&mut self, change: &Transition, socket: &Socket, age: u64) {
        let min_age = self.run_header().map_or(0, |header| header.min_age_ns);
        if age < min_age {
            return;
        }
        let end = End {
            at: change.at,
            how: how(change, socket.has_socket),
            age,
            untouched: change.untouched && !was_read_unseen(change, socket),
        };
        self.ends.note(change.cookie, end);
    }
}

/// Sockets that were stuck for the threshold and ended since the report before last: whether one told of them, only
/// who keeps the reports knows.
#[derive(Debug, Default)]
pub struct Passed {
    /// For the report that is made next.
    due: Vec<Socket>,
    later: Vec<Socket>,
}

impl Passed {
    pub fn note(&mut self, socket: Socket) {
        self.later.push(socket);
    }

    /// A report begins.
    pub fn reported(&mut self) {
        self.due = std::mem::take(&mut self.later);
    }

    pub fn due(&self) -> &[Socket] {
        &self.due
    }

    pub fn len(&self) -> usize {
        self.due.len() + self.later.len()
    }
}

/// What `close()` finds unread it answers with a reset (`net/ipv4/tcp.c:__tcp_close`): where it sends a FIN instead, calls
/// that no hook sees have read what lay there, such as `splice()`. The FIN of the peer is one byte.
const fn was_read_unseen(change: &Transition, socket: &Socket) -> bool {
    socket.recv_q > 1 && change.new != CLOSE
}

/// A signal ended the process before its program could notice that the peer had left.
fn was_unheard_of(socket: &Socket, task: &Task, age: u64) -> bool {
    /// A loop that others keep busy comes to the socket within that.
    const TIME_TO_HEAR: u64 = 50_000_000;
    let History { used, eof, .. } = *socket.history;
    let knows = eof.is_some() || used.is_some_and(|used| used.at >= socket.since);
    task.killed && !knows && age < TIME_TO_HEAR
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
