//! Who touched what: the operations on living sockets by the threads that made them, and the threads as
//! they were last looked at.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashSet};

use tracer_common::event::OUTSIDE;

use crate::{
    model::{
        actor::Actor,
        input::Thread,
        socket::{History, LastOperation, SocketOperation},
    },
    track::{Socket, Tracker},
};

/// An operation on a living socket.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    pub cookie: u64,
    pub operation: LastOperation,
}

/// Those of one thread, oldest first.
#[derive(Default)]
struct Touches {
    all: Vec<Touch>,
    /// When each was made: very many sockets look for their place in it, and this has room in a cache.
    at: Vec<u64>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    history: History,
    /// It is known what else its threads have touched.
    with_others: bool,
}

#[derive(Default)]
pub struct Threads<'a> {
    seen: HashMap<Actor, &'a Thread>,
    /// By who made them, oldest first.
    touches: HashMap<Actor, Touches>,
    histories: HashMap<u64, Known>,
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
        let has_history = |socket: &&Socket| socket.history != History::default();
        let with_history = tracker.sockets().filter(has_history);
        let most = tracker.activity().len().max(with_history.clone().count());
        threads.histories.reserve(most);
        for live in tracker.activity() {
            let known = Known {
                history: live.history,
                with_others: true,
            };
            threads.histories.insert(live.cookie, known);
        }
        for socket in with_history {
            let known = threads.histories.entry(socket.cookie).or_default();
            known.history.learn(socket.history);
        }
        let histories = std::mem::take(&mut threads.histories);
        for (cookie, known) in &histories {
            threads.note(*cookie, known.history);
        }
        threads.histories = histories;
        for touches in threads.touches.values_mut() {
            let order = |touch: &Touch| (touch.operation.at, touch.cookie);
            touches.all.sort_by_key(order);
            touches.at = touches.all.iter().map(|touch| touch.operation.at).collect();
        }
        for accepted in threads.accepted.values_mut() {
            accepted.sort_unstable();
        }
        threads
    }

    fn note(&mut self, cookie: u64, history: History) {
        for operation in operations(history) {
            let touches = self.touches.entry(operation.actor()).or_default();
            touches.all.push(Touch { cookie, operation });
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
        self.touches.get(&actor).map_or(&[], |touches| &touches.all)
    }

    /// What the thread did to living sockets after that moment, oldest first.
    pub fn touches_after(&self, actor: Actor, at: u64) -> &[Touch] {
        let Some(touches) = self.touches.get(&actor) else {
            return &[];
        };
        let first = touches.at.partition_point(|touched| *touched <= at);
        touches.all.get(first..).unwrap_or_default()
    }

    pub fn history(&self, cookie: u64) -> Option<History> {
        self.histories.get(&cookie).map(|known| known.history)
    }

    pub fn histories(&self) -> impl Iterator<Item = (u64, History)> {
        self.histories
            .iter()
            .map(|(cookie, known)| (*cookie, known.history))
    }

    fn opened_by(&self, cookie: u64, kind: SocketOperation) -> bool {
        let known = self.histories.get(&cookie);
        let opened = known.and_then(|known| known.history.opened);
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
        let known = self.histories.get(&cookie);
        known.is_some_and(|known| known.with_others)
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
