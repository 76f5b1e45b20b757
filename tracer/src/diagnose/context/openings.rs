//! What the openings of outgoing connections tell of who keeps them: a pool gives out what it has, and to whoever asks.

use std::net::SocketAddr;

use foldhash::{HashMap, HashSet};

use super::ReportContext;
use crate::{
    model::{
        actor::Actor,
        socket::{LastOperation, SocketOperation},
        stack::Frame,
    },
    track::{Socket, Tracker},
};

/// Once or twice an idle connection may have been on its way back.
const OFTEN: usize = 3;

/// Bytes: what a server says when it hangs up is less.
const PARTING: u32 = 1024;

/// When one was opened, last used, and closed by the server.
type Life = (u64, u64, u64);

/// Function and module.
type Function<'a> = (Option<&'a str>, Option<&'a str>);

/// Each of these connections was opened while an older one of the same thread to the same server was over with its
/// last use and not yet closed by the server.
pub fn passing_over(tracker: &Tracker) -> HashSet<(Actor, SocketAddr)> {
    let mut connections: HashMap<(Actor, SocketAddr), Vec<Life>> = HashMap::default();
    for (socket, opened) in outgoing(tracker) {
        if let Some(used) = socket.history.last_use() {
            let key = (opened.actor(), socket.endpoints().remote);
            let of_server = connections.entry(key).or_default();
            of_server.push((opened.at, used.at, socket.since));
        }
    }
    let passes = |connections: &[Life]| {
        let idle = || connections.iter().filter(|(_, used, since)| used < since);
        let mut from: Vec<u64> = idle().map(|(_, used, _)| *used).collect();
        let mut until: Vec<u64> = idle().map(|(_, _, since)| *since).collect();
        from.sort_unstable();
        until.sort_unstable();
        let before = |moments: &[u64], at: u64| moments.partition_point(|moment| *moment < at);
        let beside_idle = |at: u64| before(&from, at) > before(&until, at);
        let beside = connections.iter().filter(|(at, ..)| beside_idle(*at));
        beside.count() >= OFTEN
    };
    let found = connections.into_iter();
    found
        .filter(|(_, connections)| passes(connections))
        .map(|(key, _)| key)
        .collect()
}

/// More than what a server says when it hangs up was left, and the connection is not read any more.
pub fn answers_left(tracker: &Tracker) -> HashSet<(u32, SocketAddr)> {
    let mut left = HashSet::default();
    for socket in tracker.sockets() {
        let opened = socket.history.opened;
        let connected = opened.is_some_and(|opened| opened.kind == SocketOperation::Connect);
        let used = socket.history.used;
        let read = used.is_some_and(|used| used.kind == SocketOperation::Recv);
        if connected && read && socket.is_stuck_state() && socket.recv_q > PARTING {
            let pids = socket.holders.iter().map(|holder| holder.pid);
            left.extend(pids.map(|pid| (pid, socket.endpoints().remote)));
        }
    }
    left
}

impl ReportContext<'_> {
    pub(super) fn find_several_openers(&self) -> HashSet<(u64, SocketAddr)> {
        let mut named: HashMap<u64, Option<Function<'_>>> = HashMap::default();
        let mut first: HashMap<(u64, SocketAddr), Function<'_>> = HashMap::default();
        let mut several = HashSet::default();
        for (socket, opened) in outgoing(self.tracker) {
            let place = socket.history.last_use();
            let place = place.and_then(|used| self.last_place(used.stack));
            let opener = *named
                .entry(opened.stack)
                .or_insert_with(|| self.function_on(opened.stack));
            let Some((place, opener)) = place.zip(opener) else {
                continue;
            };
            let key = (place, socket.endpoints().remote);
            if *first.entry(key).or_insert(opener) != opener {
                several.insert(key);
            }
        }
        several
    }

    fn function_on(&self, stack: u64) -> Option<Function<'_>> {
        let frames = &self.tracker.stack(stack)?.frames;
        let name = |frame: &'_ Frame| frame.function.is_some();
        let blamed = frames
            .get(self.blame(frames)?)
            .filter(|frame| name(frame))?;
        Some((blamed.function.as_deref(), blamed.module.as_deref()))
    }
}

fn outgoing(tracker: &Tracker) -> impl Iterator<Item = (&Socket, LastOperation)> {
    let sockets = tracker.sockets();
    sockets.filter_map(|socket| {
        let opened = socket.history.opened?;
        (opened.kind == SocketOperation::Connect).then_some((socket, opened))
    })
}
