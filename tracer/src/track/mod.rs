//! What is true now, from inputs in any order: the sockets that matter, who holds them, who listens,
//! how the numbers grew. Pure: time comes with the input. Never panics on lost, doubled or
//! contradictory inputs; the next inventory reconciles them.

mod anchors;
mod endangered;
mod ends;
pub mod growth;
mod losses;
mod processes;
mod reading;
mod retention;
mod samples;
mod socket;
mod stacks;
#[cfg(test)]
pub(crate) mod tests;
mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;

use tracer_common::state::{CLOSE, CLOSE_WAIT, LISTEN, SHUTDOWN_MASK};

use crate::model::{
    input::{
        Activity, Anchor, CloseCount, Connection, Counters, Evidence, Input, Inventory, Item,
        Relief, RunHeader, StuckCandidate, Transition,
    },
    socket::{Endpoints, History, Holders},
};

pub use endangered::InDanger;
pub use ends::{End, Fate};
pub use socket::{Shown, Socket};
pub use warnings::Noted;

use anchors::Anchors;
use ends::{Ends, Passed};
use losses::Losses;
use processes::Processes;
use retention::EpollHistory;
use stacks::Stacks;
use warnings::Warnings;

/// Sockets followed one by one.
pub const MAX_SOCKETS: usize = 1_000_000;

/// How much is remembered at most. The oldest knowledge is kept; what finds no room is counted.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Sockets followed.
    pub sockets: usize,
    /// Histories of sockets that lost their place in the kernel's table before they were stuck.
    pub evicted_histories: usize,
    /// Sockets remembered that only an exit has closed.
    pub ended: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            sockets: MAX_SOCKETS,
            evicted_histories: 262_144,
            ended: 65_536,
        }
    }
}

/// A listening socket and the processes that can accept from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub netns: u32,
    pub endpoints: Endpoints,
    /// Connections waiting for `accept()`, and the most there may be.
    pub waiting: u32,
    pub backlog: u32,
    pub holders: Holders,
}

/// How far the two sources of truth were apart; each was reconciled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// In an inventory, but no event had told of it.
    pub unseen: u64,
    /// Followed, in no inventory any more, and no event told of the end before the next one.
    pub vanished: u64,
}

#[derive(Default)]
pub struct Tracker {
    bounds: Bounds,
    run_header: Option<Box<RunHeader>>,
    anchors: Anchors,
    /// Boxed: a tree of large values would be half empty.
    sockets: BTreeMap<u64, Box<Socket>>,
    evicted_histories: HashMap<u64, History>,
    listeners: Vec<Listener>,
    processes: Processes,
    stacks: Stacks,
    followed: Vec<u32>,
    evidence: Option<Evidence>,
    close_counts: Vec<CloseCount>,
    epoll_changes: EpollHistory,
    /// With the moment at which they were made.
    activity: (u64, Vec<Activity>),
    connections: (u64, Vec<Connection>),
    relief: Option<Relief>,
    endangered: endangered::AllInDanger,
    counters: Counters,
    losses: Losses,
    drift: Drift,
    /// Gone at the last complete inventory; the event may still be on its way.
    missing: HashMap<u64, Box<Socket>>,
    /// Stuck sockets that only an exit has closed, until they have been reported.
    ended: BTreeMap<u64, Box<Socket>>,
    ends: Ends,
    passed: Passed,
    warnings: Warnings,
    now: u64,
    inventories: u64,
    inventory_from: u64,
    /// When the one before began.
    inventory_before: u64,
    close_wait: u64,
    candidate: u64,
    unfollowed: u64,
    /// Those of them that the last complete inventory had no room for either, or that came since.
    still_unfollowed: u64,
    histories_refused: u64,
}

impl Tracker {
    pub fn bounded(bounds: Bounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    pub fn apply(&mut self, input: Input) {
        if let Some(at) = input.at() {
            self.now = self.now.max(at);
        }
        match input {
            Input::RunHeader(run_header) => {
                let (at, wall) = (run_header.at, run_header.wall);
                self.anchors.note(Anchor { at, wall });
                self.run_header = Some(run_header);
            }
            Input::Anchored(anchor) => self.anchors.note(anchor),
            Input::Transition(change) => {
                let missing = self.missing.remove(&change.cookie);
                self.transition(&change, missing);
            }
            Input::Destroyed(change) => {
                let missing = self.missing.remove(&change.cookie);
                let socket = self.sockets.remove(&change.cookie).or(missing);
                self.note_end(socket, &change);
                self.evicted_histories.remove(&change.cookie);
            }
            Input::StuckCandidate(candidate) => {
                self.candidate += 1;
                self.admit_candidate(&candidate);
            }
            Input::History { cookie, history } => self.note_history(cookie, history),
            Input::Inventory(inventory) => self.reconcile(inventory),
            Input::Process(process) => self.processes.learn(process),
            Input::ProcessEnded { pid, at } => self.processes.exited(pid, at),
            Input::Executed { pid, at } => self.processes.executed(pid, at),
            Input::Threads { pid, threads } => {
                self.processes.looked_at_threads(pid, threads, self.now);
            }
            Input::Goroutines { pid, all } => self.processes.looked_at_goroutines(pid, all),
            Input::Listeners { pid, sockets } => {
                self.processes.looked_at_listeners(pid, sockets, self.now);
            }
            Input::Tasks { pid, tasks } => self.processes.looked_at_tasks(pid, tasks, self.now),
            Input::Epoll { pid, interests } => {
                self.processes.looked_at_epolls(pid, interests, self.now);
            }
            Input::LoopsWatched(watched) => self.processes.watched_loops(watched),
            Input::Stack { key, stack } => self.stacks.learn(key, stack, self.now),
            Input::Counters(counters) => {
                self.losses.count(counters.all_lost(), self.now);
                self.counters = counters;
            }
            Input::CloseCount(close_counts) => self.close_counts = close_counts,
            Input::Relief(relief) => self.relief = Some(relief),
            Input::EpollChanges(changes) => self.epoll_changes.note(changes),
            Input::Warning(warning) => self.warnings.note(warning, self.now),
            Input::Followed(pids) => self.followed = pids,
            Input::Evidence(evidence) => self.evidence = Some(evidence),
            Input::Activity(activity) => self.activity = (self.now, activity),
            Input::Connections(connections) => self.connections = (self.now, connections),
            Input::OpenLook(look) => self.endangered.look(look),
            Input::Samples { pid, threads } => self.processes.sampled(pid, threads, self.now),
            Input::Reported => self.passed.reported(),
            Input::Tick { .. } => {}
        }
    }

    /// `missing` is what was known of it before it was in no inventory.
    fn transition(&mut self, change: &Transition, missing: Option<Box<Socket>>) {
        // A listener's end closes the connections that wait at it, which nobody has shut down.
        let closed =
            change.task.is_some() && (change.shutdown == SHUTDOWN_MASK || change.new == CLOSE);
        if change.new == CLOSE_WAIT || (change.new == CLOSE && !change.dead && !closed) {
            if let Some(socket) = self.sockets.get_mut(&change.cookie) {
                socket.moved(change);
                // What shutdown() seemed to have ended is still open.
                self.ends.revoke(change.cookie);
            } else if change.old == CLOSE_WAIT {
                // It left CLOSE_WAIT for CLOSE with its descriptor open before it was followed.
                self.insert(Socket::from_transition(change));
            }
            return;
        }
        // close() has completed sk_shutdown by now (net/ipv4/tcp.c:__tcp_close): no longer stuck.
        // After shutdown() the descriptor stays: CLOSE, or the socket's end, comes next.
        if closed {
            let socket = self.sockets.remove(&change.cookie).or(missing);
            self.note_end(socket, change);
        } else if let Some(socket) = self.sockets.get_mut(&change.cookie) {
            let before = socket.is_stuck_state().then(|| socket.clone());
            socket.moved(change);
            if let Some(before) = before.filter(|_| !socket.is_stuck_state()) {
                let age = before.age(change.at);
                self.end(change, &before, age);
                self.pass(*before, change, age);
            }
        }
    }

    fn admit_candidate(&mut self, candidate: &StuckCandidate) {
        if let Some(history) = self.evicted_histories.remove(&candidate.cookie) {
            self.note_history(candidate.cookie, history);
        }
        match self.sockets.get_mut(&candidate.cookie) {
            Some(socket) => socket.candidate(candidate, self.now),
            None => self.insert(Socket::from_candidate(candidate, self.now)),
        }
    }

    fn note_history(&mut self, cookie: u64, history: History) {
        if let Some(socket) = self.sockets.get_mut(&cookie) {
            socket.learn(history);
        } else if let Some(evicted_histories) = self.evicted_histories.get_mut(&cookie) {
            // It came back into the table and lost its place again.
            evicted_histories.learn(history);
        } else if self.evicted_histories.len() < self.bounds.evicted_histories {
            self.evicted_histories.insert(cookie, history);
        } else {
            self.histories_refused += 1;
        }
    }

    fn insert(&mut self, mut socket: Socket) {
        if self.sockets.len() >= self.bounds.sockets {
            self.unfollowed += 1;
            self.still_unfollowed += 1;
            return;
        }
        if let Some(history) = self.evicted_histories.remove(&socket.cookie) {
            socket.learn(history);
        }
        self.sockets.insert(socket.cookie, Box::new(socket));
    }

    /// Makes the table agree with what exists.
    fn reconcile(&mut self, inventory: Inventory) {
        let first = self.inventories == 0;
        self.inventories += 1;
        self.inventory_before = self.inventory_from;
        self.inventory_from = inventory.from;
        self.close_wait = 0;
        let unfollowed_before = self.still_unfollowed;
        for holder in inventory.holders {
            self.processes.seen(holder);
        }
        let mut listeners = Vec::new();
        for item in inventory.items {
            match item.state {
                LISTEN => listeners.push(Listener {
                    netns: item.netns,
                    endpoints: item.endpoints,
                    waiting: item.recv_q,
                    backlog: item.send_q,
                    holders: item.holders,
                }),
                CLOSE_WAIT => {
                    self.close_wait += 1;
                    self.reconcile_one(item, inventory.to, first);
                }
                // Without a holder a CLOSE socket is only waiting to be freed.
                CLOSE if !item.dead && !item.holders.is_empty() => {
                    self.reconcile_one(item, inventory.to, first);
                }
                _ => {}
            }
        }
        if inventory.complete {
            // Of those that only an inventory knows, a filter may keep the kernel from telling.
            let missing = self.missing.drain().map(|(_, socket)| socket);
            let told_of = missing.filter(|socket| !socket.since_is_lower_bound);
            self.drift.vanished += told_of.count() as u64;
            let grace = self.grace();
            // Sockets that came to be known while the iterators ran are not expected in them.
            self.sockets.retain(|cookie, socket| {
                let stays = socket.shown == Shown::Now || socket.known_since >= inventory.from;
                if !stays && socket.must_be_told_of(grace) {
                    self.missing.insert(*cookie, socket.clone());
                }
                stays
            });
            self.listeners.clear();
            self.losses.repaired(inventory.to);
            // All that exists was listed again: only what found no room now is not followed.
            self.still_unfollowed -= unfollowed_before;
        }
        for socket in self.sockets.values_mut() {
            if socket.shown == Shown::Now {
                socket.shown = Shown::Before;
            }
        }
        self.learn_listeners(listeners);
        self.forget_what_nobody_asks_about();
    }

    /// What is known of a place is replaced; several may listen there (`SO_REUSEPORT`).
    fn learn_listeners(&mut self, listeners: Vec<Listener>) {
        let place = |listener: &Listener| (listener.netns, listener.endpoints.local);
        let seen: BTreeSet<_> = listeners.iter().map(place).collect();
        self.listeners.retain(|known| !seen.contains(&place(known)));
        self.listeners.extend(listeners);
        self.listeners.sort_by_key(place);
    }

    fn grace(&self) -> u64 {
        self.run_header
            .as_ref()
            .map_or(0, |run_header| run_header.grace_ns)
    }

    fn reconcile_one(&mut self, item: Item, at: u64, first: bool) {
        if let Some(socket) = self.sockets.get_mut(&item.cookie) {
            socket.reconcile(item, at);
            return;
        }
        let age = at.saturating_sub(item.last_packet);
        // Younger ones reach us by the sweep when they outlive the grace period.
        if !first && age > self.grace().saturating_mul(3) {
            self.drift.unseen += 1;
        }
        self.insert(Socket::from_item(item, at));
    }
}
