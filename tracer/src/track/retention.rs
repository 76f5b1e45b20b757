//! What is forgotten, so that a run of months knows no more than one of minutes: at each complete inventory all
//! that no living or recent socket refers to.

use std::collections::BTreeMap;

use foldhash::HashSet;

use super::{Socket, Tracker};
use crate::model::input::EpollChange;

/// What ended is kept until it was surely reported: a minute.
const REPORTED: u64 = 60_000_000_000;
/// How long changes of epoll sets are kept of sockets that are not stuck, while their process has others: ten minutes.
const SIBLINGS: u64 = 600_000_000_000;
/// Of one socket: what was asked for last counts, and whether it was put back before.
const CHANGES: usize = 16;
const CHANGED_SOCKETS: usize = 65_536;

impl Tracker {
    pub(super) fn forget_what_nobody_asks_about(&mut self) {
        let now = self.now;
        let reported = self.inventory_before.min(now.saturating_sub(REPORTED));
        self.ended
            .retain(|_, socket| socket.ended_at().is_some_and(|at| at >= reported));
        self.ends.forget_before(reported);
        let sockets = || {
            let alive = self.sockets.values().chain(self.missing.values());
            alive.chain(self.ended.values()).map(Box::as_ref)
        };
        let stacks = self.stacks_asked_for(sockets());
        let listeners = self.listeners.iter().flat_map(|listener| &listener.holders);
        let holders = sockets().flat_map(|socket| &socket.holders);
        let mut pids: HashSet<u32> = holders.chain(listeners).map(|holder| holder.pid).collect();
        let histories = sockets().flat_map(|socket| socket.history.operations());
        pids.extend(histories.map(|operation| operation.pid));
        pids.extend(self.ended.values().filter_map(|socket| socket.ended_by()));
        pids.extend(&self.followed);
        let oldest = sockets().map(began).min().unwrap_or(now);
        self.losses.forget_before(oldest);
        self.stacks.sweep(&stacks, |pid| pids.contains(&pid), now);
        self.processes.sweep(&pids, now);
        let (alive, missing) = (&self.sockets, &self.missing);
        let lives = |cookie: u64| alive.contains_key(&cookie) || missing.contains_key(&cookie);
        self.epoll_changes
            .sweep(now, lives, |pid| pids.contains(&pid));
    }

    fn stacks_asked_for<'a>(&self, sockets: impl Iterator<Item = &'a Socket>) -> HashSet<u64> {
        let (_, activity) = &self.activity;
        let live = activity.iter().flat_map(|live| live.history.operations());
        let operations = sockets
            .flat_map(|socket| socket.history.operations())
            .chain(live);
        let mut keys: HashSet<u64> = operations.map(|operation| operation.stack).collect();
        keys.extend(self.epoll_changes.stacks());
        for pair in &self.close_counts {
            keys.extend([pair.opened, pair.closed]);
        }
        keys
    }

    /// Everything that is remembered, counted: a run of months must not grow by it.
    pub fn remembered(&self) -> [(&'static str, usize); 11] {
        [
            ("sockets", self.sockets.len()),
            ("missing_sockets", self.missing.len()),
            ("ended_sockets", self.ended.len() + self.passed.len()),
            ("ends", self.ends.len()),
            ("evicted_histories", self.evicted_histories.len()),
            ("listeners", self.listeners.len()),
            ("processes", self.processes.len()),
            ("named_stacks", self.stacks.len()),
            ("frames", self.stacks.frames()),
            ("epoll_changes", self.epoll_changes.len()),
            (
                "warnings_and_losses",
                self.warnings.len() + self.losses.len(),
            ),
        ]
    }
}

/// When its life began, as far as that was seen.
pub(super) fn began(socket: &Socket) -> u64 {
    socket.history.opened.map_or(0, |opened| opened.at)
}

/// Changes to epoll sets by socket, oldest first.
#[derive(Debug, Default)]
pub(super) struct EpollHistory {
    by_cookie: BTreeMap<u64, Vec<EpollChange>>,
    pub refused: u64,
}

impl EpollHistory {
    pub fn note(&mut self, changes: Vec<EpollChange>) {
        for change in changes {
            if self.by_cookie.len() >= CHANGED_SOCKETS
                && !self.by_cookie.contains_key(&change.cookie)
            {
                self.refused += 1;
                continue;
            }
            let of_socket = self.by_cookie.entry(change.cookie).or_default();
            if of_socket.len() >= CHANGES {
                of_socket.remove(0);
            }
            of_socket.push(change);
        }
    }

    pub fn of(&self, cookie: u64) -> &[EpollChange] {
        self.by_cookie.get(&cookie).map_or(&[], Vec::as_slice)
    }

    pub fn all(&self) -> impl Iterator<Item = &[EpollChange]> {
        self.by_cookie.values().map(Vec::as_slice)
    }

    fn stacks(&self) -> impl Iterator<Item = u64> {
        let changes = self.by_cookie.values().flatten();
        changes.map(|change| change.stack)
    }

    fn sweep(&mut self, now: u64, lives: impl Fn(u64) -> bool, has_sockets: impl Fn(u32) -> bool) {
        self.by_cookie.retain(|cookie, changes| {
            let (last, pid) = changes.last().map_or((0, 0), |last| (last.at, last.pid));
            let kept = if has_sockets(pid) { SIBLINGS } else { REPORTED };
            lives(*cookie) || now.saturating_sub(last) < kept
        });
    }

    fn len(&self) -> usize {
        self.by_cookie.len()
    }
}
