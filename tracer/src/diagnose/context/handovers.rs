//! Connections and requests that one thread takes and others work on: by the order of times. Workers that have touched no
//! client serve those whose requests were read right before each began what it is stuck in, one client for each worker;
//! threads that were started right after a connection was accepted serve that one.

use std::collections::BTreeMap;

use foldhash::HashMap;

use super::{ReportContext, waits::WaitsFor};
use crate::model::{
    input::Thread,
    socket::{LastOperation, SocketOperation},
};

/// A request that was read, or a connection that was accepted, so long before a worker began may be the one that it works on.
const SOON: u64 = 500_000_000;

impl<'a> ReportContext<'a> {
    /// When the first of the requests was read that these threads, all of them stuck, work on. `None` where one of them has
    /// no request of its own that was read right before it began.
    pub(super) fn handed_since(&self, pid: u32, threads: &[&'a Thread]) -> Option<u64> {
        let mut began: Vec<u64> = threads
            .iter()
            .filter_map(|thread| self.began_work(thread))
            .collect();
        // One thread that began after one request may have done so by chance.
        if threads.len() < 2 || began.len() < threads.len() {
            return None;
        }
        began.sort_unstable();
        let reads = self.requests_read(pid, threads);
        let own = one_each(&began, &reads)?;
        own.first().and_then(|first| reads.get(*first)).copied()
    }

    /// Those of which nothing was read, each with the thread that was started right after it was accepted: where that is so
    /// of all threads of a kind that touch no client and are kept.
    pub(super) fn find_started_for(&self) -> HashMap<u64, &'a Thread> {
        let mut found = HashMap::default();
        for (pid, unread) in self.unread() {
            let mut kinds: BTreeMap<_, Vec<&'a Thread>> = BTreeMap::new();
            let threads = self.tracker.threads(pid).iter();
            for thread in threads.filter(|thread| self.is_kept_from_any(thread)) {
                let kind = self.kind(thread);
                kinds.entry(kind).or_default().push(thread);
            }
            for (kind, mut threads) in kinds {
                threads.sort_by_key(|thread| thread.began);
                let began: Vec<u64> = threads.iter().map(|thread| thread.began).collect();
                let times: Vec<u64> = unread.iter().map(|(at, _)| *at).collect();
                let own = one_each(&began, &times);
                if let Some(own) = own.filter(|own| kind.is_some() && own.len() > 1) {
                    let cookies = own.into_iter().filter_map(|at| unread.get(at));
                    found.extend(cookies.map(|(_, cookie)| *cookie).zip(threads));
                }
            }
        }
        found
    }

    /// Accepted, and not read since: when and which, in order, by process.
    fn unread(&self) -> BTreeMap<u32, Vec<(u64, u64)>> {
        let mut unread: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for socket in self.tracker.sockets() {
            let history = *socket.history;
            let accepted = history
                .opened
                .filter(|opened| opened.kind == SocketOperation::Accept);
            if let Some(opened) =
                accepted.filter(|_| history.used.is_none() && history.eof.is_none())
            {
                unread
                    .entry(opened.pid)
                    .or_default()
                    .push((opened.at, socket.cookie));
            }
        }
        for of_process in unread.values_mut() {
            of_process.sort_unstable();
        }
        unread
    }

    fn is_kept_from_any(&self, thread: &'a Thread) -> bool {
        let mut touches = self.threads.touches(thread.actor()).iter();
        thread.began != 0
            && self.waits.of(thread).is_of_work()
            && touches.all(|touch| self.threads.is_connected(touch.cookie))
    }

    /// When it opened the connection on which it waits, or began to wait.
    fn began_work(&self, thread: &Thread) -> Option<u64> {
        let asked = match self.waits.of(thread) {
            WaitsFor::Upstream(connection) => self.threads.history(connection.cookie),
            _ => None,
        };
        asked
            .and_then(|history| history.opened)
            .filter(|opened| opened.actor() == thread.actor())
            .map(|opened| opened.at)
            .or(thread.since)
    }

    /// When others than these threads read what stuck clients of the process asked for, in order.
    fn requests_read(&self, pid: u32, threads: &[&'a Thread]) -> Vec<u64> {
        let sockets = self.tracker.sockets();
        let used = sockets.into_iter().filter_map(|socket| {
            let history = *socket.history;
            history
                .used
                .filter(|used| is_request(*used) && history.eof.is_none())
        });
        let by_others = used.filter(|used| {
            used.pid == pid && threads.iter().all(|thread| thread.actor() != used.actor())
        });
        let mut reads: Vec<u64> = by_others.map(|used| used.at).collect();
        reads.sort_unstable();
        reads
    }
}

/// For each the first of the times that comes soon before it and is no other's: their places. Both are in order.
fn one_each(began: &[u64], times: &[u64]) -> Option<Vec<usize>> {
    let mut left = times.iter().enumerate();
    let own = began.iter().map(|began| {
        left.find(|(_, at)| at.saturating_add(SOON) >= *began)
            .filter(|(_, at)| *at <= began)
            .map(|(place, _)| place)
    });
    own.collect()
}

fn is_request(used: LastOperation) -> bool {
    used.kind == SocketOperation::Recv
}
