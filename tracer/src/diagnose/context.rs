//! What all sockets of one report share; looked at once, because thousands of sockets ask for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tracer_common::{event::OUTSIDE, state::ESTABLISHED};

use super::{
    Blamer,
    pool::{self, Pool},
};
use crate::{
    model::{
        input::Connection,
        socket::{History, LastOperation, SocketOperation},
    },
    track::Tracker,
};

#[derive(Default)]
pub struct ReportContext<'a> {
    /// The socket each thread touched last.
    newest: HashMap<u32, (u64, LastOperation)>,
    /// Sockets of which it is known what else their threads have touched.
    known: HashSet<u64>,
    connected: HashSet<u64>,
    clients: HashSet<u64>,
    call_sites: HashMap<u64, u64>,
    partners: HashMap<u64, Partner>,
    /// Threads that accepted a connection that still lives.
    acceptors: BTreeSet<u32>,
    accepted: BTreeMap<u32, Vec<u64>>,
    /// Threads that have read from or written to an accepted connection that still lives.
    servers: HashSet<u32>,
    pools: BTreeMap<u32, Pool<'a>>,
}

/// The other side of a relay: the one connection its process opened between accepting a connection
/// and accepting the next.
#[derive(Clone, Copy, Debug)]
pub struct Partner {
    pub history: History,
    pub connection: Connection,
}

impl Partner {
    /// Nothing was said to it about an end: open in both directions.
    pub fn is_open(&self) -> bool {
        self.connection.state == ESTABLISHED
    }
}

impl<'a> ReportContext<'a> {
    pub fn new(tracker: &'a Tracker, blamer: Blamer<'_>) -> Self {
        let mut context = Self {
            known: tracker.activity().iter().map(|live| live.cookie).collect(),
            ..Self::default()
        };
        let live = tracker.activity().iter();
        let live = live.map(|activity| (activity.cookie, activity.history));
        let stuck = tracker.sockets().into_iter();
        let stuck = stuck.map(|socket| (socket.cookie, socket.history));
        let mut openings: BTreeMap<u32, BTreeMap<(u64, u64), SocketOperation>> = BTreeMap::new();
        let mut histories = HashMap::new();
        for (cookie, history) in live.chain(stuck) {
            histories.insert(cookie, history);
            for operation in operations(history) {
                let newest = context
                    .newest
                    .entry(operation.tid)
                    .or_insert((cookie, operation));
                if operation.at > newest.1.at {
                    *newest = (cookie, operation);
                }
            }
            // Processes outside of the pid namespace are not told apart.
            if let Some(opened) = history.opened.filter(|opened| opened.pid != OUTSIDE) {
                let of_process = openings.entry(opened.pid).or_default();
                of_process.insert((opened.at, cookie), opened.kind);
                if opened.kind == SocketOperation::Connect {
                    context.connected.insert(cookie);
                }
                if opened.kind == SocketOperation::Accept {
                    let served = [history.used, history.eof].into_iter().flatten();
                    context.clients.insert(cookie);
                    context
                        .servers
                        .extend(served.map(|operation| operation.tid));
                    context.acceptors.insert(opened.tid);
                    context
                        .accepted
                        .entry(opened.pid)
                        .or_default()
                        .push(opened.at);
                }
            }
        }
        context.call_sites = call_sites(tracker);
        context.pair(tracker, &openings, &histories);
        let pools = tracker.threaded().filter_map(|pid| {
            let pool = pool::starving(tracker, pid, &context, blamer)?;
            Some((pid, pool))
        });
        context.pools = pools.collect();
        context
    }

    fn pair(
        &mut self,
        tracker: &Tracker,
        openings: &BTreeMap<u32, BTreeMap<(u64, u64), SocketOperation>>,
        histories: &HashMap<u64, History>,
    ) {
        let open: HashMap<u64, Connection> = tracker
            .connections()
            .iter()
            .map(|connection| (connection.cookie, *connection))
            .collect();
        for of_process in openings.values() {
            let mut accepted = None;
            let mut connected = Vec::new();
            let mut pairs = Vec::new();
            let mut settle = |accepted: Option<u64>, connected: &mut Vec<u64>| {
                if let (Some(accepted), [only]) = (accepted, connected.as_slice()) {
                    pairs.push((accepted, *only));
                }
                connected.clear();
            };
            for ((_, cookie), kind) in of_process {
                match kind {
                    SocketOperation::Accept => {
                        settle(accepted.replace(*cookie), &mut connected);
                    }
                    SocketOperation::Connect => connected.push(*cookie),
                    _ => {}
                }
            }
            settle(accepted, &mut connected);
            for (one, other) in pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]) {
                if let (Some(connection), Some(history)) = (open.get(&other), histories.get(&other))
                {
                    let partner = Partner {
                        history: *history,
                        connection: *connection,
                    };
                    self.partners.insert(one, partner);
                }
            }
        }
    }

    /// Of all living sockets, the one this thread touched last, and how.
    pub fn newest_of(&self, tid: u32) -> Option<(u64, LastOperation)> {
        self.newest.get(&tid).copied()
    }

    /// The process itself opened it, as far as is known.
    pub fn is_connected(&self, cookie: u64) -> bool {
        self.connected.contains(&cookie)
    }

    /// The same place for sockets opened along the same frames: one path can have several keys.
    pub fn call_site_of(&self, opened: u64) -> u64 {
        self.call_sites.get(&opened).copied().unwrap_or(opened)
    }

    pub fn knows(&self, cookie: u64) -> bool {
        self.known.contains(&cookie)
    }

    pub fn partner_of(&self, cookie: u64) -> Option<&Partner> {
        self.partners.get(&cookie)
    }

    pub fn has_accepted(&self, tid: u32) -> bool {
        self.acceptors.contains(&tid)
    }

    pub fn is_accepted(&self, cookie: u64) -> bool {
        self.clients.contains(&cookie)
    }

    pub fn has_served(&self, tid: u32) -> bool {
        self.servers.contains(&tid)
    }

    /// Living connections the process has accepted since then.
    pub fn accepted_since(&self, pid: u32, since: u64) -> usize {
        let accepted = self.accepted.get(&pid).into_iter().flatten();
        accepted.filter(|at| **at >= since).count()
    }

    pub fn pool_of(&self, pid: u32) -> Option<&Pool<'a>> {
        self.pools.get(&pid)
    }
}

/// Module and offset of every frame, in the process.
type Path<'a> = (Option<u32>, Vec<(Option<&'a str>, u64)>);

/// The lowest of the keys whose stacks have the same frames in the same process, for each that is named:
/// interpreters have the same frames in all programs.
fn call_sites(tracker: &Tracker) -> HashMap<u64, u64> {
    let close_counts = tracker
        .close_counts()
        .iter()
        .map(|close_counts| close_counts.opened);
    let stuck = tracker.sockets().into_iter();
    let stuck = stuck.filter_map(|socket| Some(socket.history.opened?.stack));
    let keys: BTreeSet<u64> = close_counts.chain(stuck).collect();
    let mut firsts: HashMap<Path<'_>, u64> = HashMap::new();
    let mut call_sites = HashMap::new();
    for key in keys {
        let Some(known) = tracker.stack(key).filter(|known| !known.frames.is_empty()) else {
            continue;
        };
        let frames = known.frames.iter();
        let frames = frames.map(|frame| (frame.module.as_deref(), frame.offset));
        let path = (known.pid, frames.collect());
        call_sites.insert(key, *firsts.entry(path).or_insert(key));
    }
    call_sites
}

fn operations(history: History) -> impl Iterator<Item = LastOperation> {
    [history.opened, history.used, history.eof]
        .into_iter()
        .flatten()
}
