//! Who touched what: the operations on living sockets by the threads that made them, and the threads as
//! they were last looked at.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tracer_common::event::OUTSIDE;

use crate::{
    model::{
        actor::Actor,
        input::Thread,
        socket::{History, LastOperation, SocketOperation},
    },
    track::Tracker,
};

/// An operation on a living socket.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    pub cookie: u64,
    pub operation: LastOperation,
}

#[derive(Default)]
pub struct Threads<'a> {
    seen: HashMap<Actor, &'a Thread>,
    /// By who made them, oldest first.
    touches: HashMap<Actor, Vec<Touch>>,
    histories: HashMap<u64, History>,
    /// Of these it is known what else their threads have touched.
    known: HashSet<u64>,
    /// When each process accepted connections that still live.
    accepted: BTreeMap<u32, Vec<u64>>,
    acceptors: BTreeSet<Actor>,
    servers: HashSet<Actor>,
    /// Processes whose accepted connections others use.
    givers: HashSet<u32>,
}

impl<'a> Threads<'a> {
    pub fn new(tracker: &'a Tracker) -> Self {
        let mut threads = Self::default();
        for pid in tracker.threaded() {
            let seen = tracker.threads(pid).iter();
            threads
                .seen
                .extend(seen.map(|thread| (thread.actor(), thread)));
            let tasks = tracker.tasks(pid).iter().map(|task| &task.thread);
            threads
                .seen
                .extend(tasks.map(|thread| (thread.actor(), thread)));
        }
        for live in tracker.activity() {
            threads.known.insert(live.cookie);
            threads.histories.insert(live.cookie, live.history);
        }
        for socket in tracker.sockets() {
            let known = threads.histories.entry(socket.cookie).or_default();
            known.learn(socket.history);
        }
        let histories: Vec<(u64, History)> = threads
            .histories
            .iter()
            .map(|(cookie, history)| (*cookie, *history))
            .collect();
        for (cookie, history) in histories {
            threads.note(cookie, history);
        }
        for touches in threads.touches.values_mut() {
            touches.sort_by_key(|touch| (touch.operation.at, touch.cookie));
        }
        for accepted in threads.accepted.values_mut() {
            accepted.sort_unstable();
        }
        threads
    }

    fn note(&mut self, cookie: u64, history: History) {
        for operation in operations(history) {
            let touches = self.touches.entry(operation.actor()).or_default();
            touches.push(Touch { cookie, operation });
        }
        let accepted = history
            .opened
            .filter(|opened| opened.kind == SocketOperation::Accept && opened.pid != OUTSIDE);
        let Some(opened) = accepted else {
            return;
        };
        self.acceptors.insert(opened.actor());
        self.accepted.entry(opened.pid).or_default().push(opened.at);
        for operation in operations(history).filter(|operation| *operation != opened) {
            self.servers.insert(operation.actor());
            if operation.pid != opened.pid && operation.pid != OUTSIDE {
                self.givers.insert(opened.pid);
            }
        }
    }

    /// The thread as it was last looked at.
    pub fn seen(&self, actor: Actor) -> Option<&'a Thread> {
        self.seen.get(&actor).copied()
    }

    pub fn touches(&self, actor: Actor) -> &[Touch] {
        self.touches.get(&actor).map_or(&[], Vec::as_slice)
    }

    /// What the thread did to living sockets after that moment, oldest first.
    pub fn touches_after(&self, actor: Actor, at: u64) -> &[Touch] {
        let touches = self.touches(actor);
        let first = touches.partition_point(|touch| touch.operation.at <= at);
        touches.get(first..).unwrap_or_default()
    }

    pub fn history(&self, cookie: u64) -> Option<History> {
        self.histories.get(&cookie).copied()
    }

    pub fn histories(&self) -> impl Iterator<Item = (u64, History)> {
        self.histories
            .iter()
            .map(|(cookie, history)| (*cookie, *history))
    }

    fn opened_by(&self, cookie: u64, kind: SocketOperation) -> bool {
        let opened = self.histories.get(&cookie).and_then(|known| known.opened);
        opened.is_some_and(|opened| opened.kind == kind)
    }

    /// The process itself opened it, as far as is known.
    pub fn is_connected(&self, cookie: u64) -> bool {
        self.opened_by(cookie, SocketOperation::Connect)
    }

    pub fn is_accepted(&self, cookie: u64) -> bool {
        self.opened_by(cookie, SocketOperation::Accept)
    }

    /// Is it known what else its threads have touched?
    pub fn knows(&self, cookie: u64) -> bool {
        self.known.contains(&cookie)
    }

    /// It accepted a connection that still lives.
    pub fn has_accepted(&self, actor: Actor) -> bool {
        self.acceptors.contains(&actor)
    }

    /// Another process read from or wrote to a connection that this one accepted.
    pub fn gives_away(&self, pid: u32) -> bool {
        self.givers.contains(&pid)
    }

    /// It read from or wrote to an accepted connection that still lives.
    pub fn has_served(&self, actor: Actor) -> bool {
        self.servers.contains(&actor)
    }

    /// Living connections the process has accepted since then.
    pub fn accepted_since(&self, pid: u32, since: u64) -> usize {
        let accepted = self.accepted.get(&pid).map_or(&[][..], Vec::as_slice);
        accepted.len() - accepted.partition_point(|at| *at < since)
    }

    /// The first time after that moment at which the thread turned to another connection than this one. One
    /// that it opened itself may be in the service of an accepted one.
    pub fn went_on(&self, actor: Actor, cookie: u64, at: u64) -> Option<Touch> {
        let serves = !self.is_connected(cookie);
        let mut after = self.touches_after(actor, at).iter();
        after
            .find(|touch| touch.cookie != cookie && !(serves && self.is_connected(touch.cookie)))
            .copied()
    }
}

/// Those of processes that can be told apart: not of one outside of the pid namespace.
pub fn operations(history: History) -> impl Iterator<Item = LastOperation> {
    [history.opened, history.used, history.eof]
        .into_iter()
        .flatten()
        .filter(|operation| operation.pid != OUTSIDE)
}
