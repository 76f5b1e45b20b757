//! One followed socket: what each kind of input adds to it.

use std::sync::Arc;

use tracer_common::{
    endpoint,
    state::{CLOSE, CLOSE_WAIT, LAST_ACK},
};

use crate::model::{
    input::{Item, Process, StuckCandidate, Transition},
    socket::{Endpoints, Entry, History, Holders, KeptHistory},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub cookie: u64,
    pub netns: u32,
    /// In 40 bytes, where two addresses of the standard library take 64.
    ends: endpoint::Endpoints,
    pub state: u8,
    /// When it entered its state, or the latest moment it can have done so.
    pub since: u64,
    pub since_is_lower_bound: bool,
    /// The earliest moment it can have done so; 0 when nothing tells.
    pub since_earliest: u64,
    /// When the tracer came to know of it.
    pub known_since: u64,
    /// The last moment at which it was known to be in its state.
    pub seen: u64,
    pub entry: Option<Entry>,
    pub history: KeptHistory,
    /// The end of the stream was read, and later read again.
    pub end_read_again: bool,
    pub shown: Shown,
    /// The exit of its process closed it.
    pub ended: Option<Box<AtExit>>,
    // The rest comes from the last inventory.
    /// Inventories that showed it.
    pub looks: u32,
    /// The first look at which the program had read or written since the one before; 0 when there was none.
    pub moved_at: u64,
    moved_to: (u32, u32),
    /// When a look found that the peer had acknowledged more than at the one before.
    pub taken_at: u64,
    pub has_socket: bool,
    /// The first inventory to show it accepted after one that did not; 0 when there was none.
    pub accepted_at: u64,
    pub inode: u64,
    pub recv_q: u32,
    pub send_q: u32,
    /// When data came last; 0 when that is not known.
    pub last_data: u64,
    pub holders: Holders,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtExit {
    pub at: u64,
    /// The process whose exit it was.
    pub by: Option<u32>,
    /// That process as it was known then: its pid may be another's by now.
    pub process: Option<Arc<Process>>,
}

/// By an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Never,
    Before,
    /// By the one that is being reconciled.
    Now,
}

impl Socket {
    fn new(
        cookie: u64,
        netns: u32,
        endpoints: Endpoints,
        state: u8,
        since: u64,
        known_since: u64,
    ) -> Self {
        Self {
            cookie,
            netns,
            ends: endpoints.to_wire(),
            state,
            since,
            since_is_lower_bound: false,
            since_earliest: since,
            known_since,
            seen: known_since,
            entry: None,
            history: KeptHistory::default(),
            end_read_again: false,
            shown: Shown::Never,
            ended: None,
            looks: 0,
            moved_at: 0,
            moved_to: (0, 0),
            taken_at: 0,
            has_socket: false,
            accepted_at: 0,
            inode: 0,
            recv_q: 0,
            send_q: 0,
            last_data: 0,
            holders: Holders::new(),
        }
    }

    pub fn endpoints(&self) -> Endpoints {
        Endpoints::from_wire(&self.ends)
    }

    /// It waits in the queue of its listener; nobody has a descriptor of it.
    pub fn is_unaccepted(&self) -> bool {
        self.state == CLOSE_WAIT && !self.has_socket && self.inode == 0
    }

    /// All that was done with it, other processes did.
    pub fn is_copy_of(&self, pid: u32) -> bool {
        let mut users = self.history.operations().peekable();
        users.peek().is_some() && users.all(|operation| operation.pid != pid)
    }

    /// The kernel program knows it, so it is not only in an inventory.
    pub fn is_remembered(&self) -> bool {
        self.entry.is_some() || self.history.operations().next().is_some()
    }

    pub fn from_candidate(candidate: &StuckCandidate, now: u64) -> Self {
        let StuckCandidate {
            cookie,
            state,
            since,
            netns,
            endpoints,
            entry,
            history,
        } = *candidate;
        let mut socket = Self::new(cookie, netns, endpoints, state, since, since);
        socket.seen = now;
        socket.entry = Some(entry);
        socket.history.learn(history);
        socket
    }

    pub fn from_transition(change: &Transition) -> Self {
        let mut socket = Self::new(
            change.cookie,
            change.netns,
            change.endpoints,
            change.new,
            change.at,
            change.at,
        );
        socket.entry = Some(entry_of(change));
        socket
    }

    /// A socket nobody saw arrive: its last packet is the latest moment its state can have begun.
    pub fn from_item(item: Item, at: u64) -> Self {
        let since = if item.last_packet == 0 {
            at
        } else {
            item.last_packet.min(at)
        };
        let mut socket = Self::new(
            item.cookie,
            item.netns,
            item.endpoints,
            item.state,
            since,
            at,
        );
        socket.since_is_lower_bound = true;
        socket.since_earliest = item.last_data.min(since);
        socket.reconcile(item, at);
        socket
    }

    /// Exact knowledge replaces an estimate; the earlier of two beginnings of one state is true.
    pub fn candidate(&mut self, candidate: &StuckCandidate, now: u64) {
        self.seen = now;
        let exact = !self.since_is_lower_bound && self.state == candidate.state;
        self.since = if exact {
            self.since.min(candidate.since)
        } else {
            candidate.since
        };
        self.since_is_lower_bound = false;
        self.since_earliest = self.since;
        self.state = candidate.state;
        self.entry = Some(candidate.entry);
        self.ends = candidate.endpoints.to_wire();
        self.learn(candidate.history);
    }

    pub fn learn(&mut self, history: History) {
        let again =
            matches!((self.history.eof, history.eof), (Some(old), Some(new)) if new.at > old.at);
        self.end_read_again |= again;
        self.history.learn(history);
    }

    pub fn moved(&mut self, change: &Transition) {
        // An event that is older than what an inventory has shown says nothing new.
        if change.new == self.state {
            return;
        }
        // The age of a hidden socket counts from CLOSE_WAIT: it has been useless since then.
        let keeps_age =
            matches!(self.state, CLOSE_WAIT | LAST_ACK) && matches!(change.new, CLOSE | LAST_ACK);
        if !keeps_age {
            self.since = change.at;
            self.since_earliest = change.at;
            self.since_is_lower_bound = false;
        }
        self.state = change.new;
        self.seen = change.at;
        self.entry = Some(entry_of(change));
    }

    pub fn reconcile(&mut self, item: Item, at: u64) {
        if item.state != self.state {
            let was_stuck = matches!(self.state, CLOSE_WAIT | LAST_ACK);
            if !was_stuck {
                self.since_earliest = self.seen;
                self.since = at.min(item.last_packet.max(self.since));
            }
            self.state = item.state;
        }
        if self.shown != Shown::Never && !self.has_socket && item.has_socket {
            self.accepted_at = at;
        }
        let (_, written) = self.moved_to;
        let taken = written.wrapping_sub(self.send_q);
        if self.looks > 0 && taken != item.written_to.wrapping_sub(item.send_q) {
            self.taken_at = at;
        }
        if self.looks > 0 && self.moved_to != (item.read_to, item.written_to) {
            self.moved_at = at;
        }
        self.moved_to = (item.read_to, item.written_to);
        if self.looks == 0 || at > self.seen {
            self.looks = self.looks.saturating_add(1);
        }
        self.has_socket = item.has_socket;
        self.inode = item.inode;
        self.recv_q = item.recv_q;
        self.send_q = item.send_q;
        self.last_data = item.last_data;
        self.holders = item.holders;
        self.shown = Shown::Now;
        self.seen = at;
    }

    pub fn age(&self, now: u64) -> u64 {
        self.ended_at().unwrap_or(now).saturating_sub(self.since)
    }

    pub fn ended_at(&self) -> Option<u64> {
        Some(self.ended.as_ref()?.at)
    }

    pub fn ended_by(&self) -> Option<u32> {
        self.ended.as_ref()?.by
    }

    /// The longest it can have been in its state; `None` when nothing tells.
    pub fn age_at_most(&self, now: u64) -> Option<u64> {
        let until = self.ended_at().unwrap_or(now);
        (self.since_earliest != 0).then(|| until.saturating_sub(self.since_earliest))
    }

    /// The kernel says nothing of sockets that leave their state within the grace period; the end of
    /// any other is an event.
    pub fn must_be_told_of(&self, grace: u64) -> bool {
        self.is_stuck_state() && self.seen.saturating_sub(self.since) >= grace
    }

    /// `CLOSE_WAIT`, or CLOSE with a descriptor still open.
    pub fn is_stuck_state(&self) -> bool {
        self.state == CLOSE_WAIT || self.state == CLOSE
    }
}

fn entry_of(change: &Transition) -> Entry {
    Entry {
        old_state: change.old,
        error: 0,
        shutdown: change.shutdown,
        only_fin_unread: change.new == CLOSE_WAIT
            && change.recv_q.is_some_and(|unread| unread <= 1),
    }
}
