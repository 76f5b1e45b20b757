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
pub struct Touch<'a> {
    pub cookie: u64,
    pub operation: &'a LastOperation,
}

/// Those of one thread, oldest first.
#[derive(Default)]
struct Touches<'a> {
    all: Vec<Touch<'a>>,
    /// When each was made: very many sockets look for their place in it, and this has room in a cache.
    at: Vec<u64>,
}

/// A history where its operations lie: of very many sockets, copies would be most of what a report takes.
#[derive(Clone, Copy, Default)]
struct Known<'a> {
    opened: Option<&'a LastOperation>,
    used: Option<&'a LastOperation>,
    eof: Option<&'a LastOperation>,
    /// It is known what else its threads have touched.
    with_others: bool,
}

impl<'a> Known<'a> {
    /// The newest of each kind stays.
    fn learn(&mut self, history: &'a History) {
        let newest = |known: &mut Option<&'a LastOperation>, new: &'a Option<LastOperation>| {
            let newest = known.iter().copied().chain(new);
            *known = newest.max_by_key(|operation| operation.at);
        };
        newest(&mut self.opened, &history.opened);
        newest(&mut self.used, &history.used);
        newest(&mut self.eof, &history.eof);
    }

    fn history(&self) -> History {
        History {
            opened: self.opened.copied(),
            used: self.used.copied(),
            eof: self.eof.copied(),
        }
    }

    /// Those of processes that can be told apart: not of one outside of the pid namespace.
    fn operations(&self) -> impl Iterator<Item = &'a LastOperation> + use<'a> {
        [self.opened, self.used, self.eof]
            .into_iter()
            .flatten()
            .filter(|operation| operation.pid != OUTSIDE)
    }
}

#[derive(Default)]
pub struct Threads<'a> {
    seen: HashMap<Actor, &'a Thread>,
    /// By who made them, oldest first.
    touches: HashMap<Actor, Touches<'a>>,
    histories: HashMap<u64, Known<'a>>,
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
        let has_history = |socket: &&Socket| socket.history.operations().next().is_some();
        let with_history = tracker.sockets().filter(has_history);
        let most = tracker.activity().len().max(with_history.clone().count());
        threads.histories.reserve(most);
        for live in tracker.activity() {
            let known = threads.histories.entry(live.cookie).or_default();
            known.learn(&live.history);
            known.with_others = true;
        }
        for socket in with_history {
            let known = threads.histories.entry(socket.cookie).or_default();
            known.learn(&socket.history);
        }
        let histories = std::mem::take(&mut threads.histories);
        for (cookie, known) in &histories {
            threads.note(*cookie, known);
        }
        threads.histories = histories;
        for touches in threads.touches.values_mut() {
            let order = |touch: &Touch<'_>| (touch.operation.at, touch.cookie);
            touches.all.sort_by_key(order);
            touches.at = touches.all.iter().map(|touch| touch.operation.at).collect();
        }
        for accepted in threads.accepted.values_mut() {
            accepted.sort_unstable();
        }
        threads
    }

    fn note(&mut self, cookie: u64, known: &Known<'a>) {
        for operation in known.operations() {
            let touches = self.touches.entry(operation.actor()).or_default();
            touches.all.push(Touch { cookie, operation });
        }
        let accepted = known
            .opened
            .filter(|opened| opened.kind == SocketOperation::Accept && opened.pid != OUTSIDE);
        let Some(opened) = accepted else {
            return;
        };
        self.acceptors.insert(opened.actor());
        self.accepted.entry(opened.pid).or_default().push(opened.at);
        for operation in known.operations().filter(|operation| *operation != opened) {
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

    pub fn touches(&self, actor: Actor) -> &[Touch<'a>] {
        self.touches.get(&actor).map_or(&[], |touches| &touches.all)
    }

    /// What the thread did to living sockets after that moment, oldest first.
    pub fn touches_after(&self, actor: Actor, at: u64) -> &[Touch<'a>] {
        let Some(touches) = self.touches.get(&actor) else {
            return &[];
        };
        let first = touches.at.partition_point(|touched| *touched <= at);
        touches.all.get(first..).unwrap_or_default()
    }

    pub fn history(&self, cookie: u64) -> Option<History> {
        self.histories.get(&cookie).map(Known::history)
    }

    pub fn histories(&self) -> impl Iterator<Item = (u64, History)> {
        self.histories
            .iter()
            .map(|(cookie, known)| (*cookie, known.history()))
    }

    fn opened_by(&self, cookie: u64, kind: SocketOperation) -> bool {
        let known = self.histories.get(&cookie);
        let opened = known.and_then(|known| known.opened);
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
    pub fn went_on(&self, actor: Actor, cookie: u64, at: u64) -> Option<Touch<'a>> {
        let serves = !self.is_connected(cookie);
        let mut after = self.touches_after(actor, at).iter();
        after
            .find(|touch| touch.cookie != cookie && !(serves && self.is_connected(touch.cookie)))
            .copied()
    }
}

/// Those of processes that can be told apart: not of one outside of the pid namespace.
pub fn operations(history: &History) -> impl Iterator<Item = &LastOperation> {
    let operations = history.operations();
    operations.filter(|operation| operation.pid != OUTSIDE)
}
