//! Requests that one thread reads and others work on: by the order of times. Workers that have touched no client
//! serve those whose requests were read right before each began what it is stuck in, one client for each worker.

use super::{ReportContext, waits::WaitsFor};
use crate::model::{
    input::Thread,
    socket::{LastOperation, SocketOperation},
};

/// A request that was read so long before a worker began may be the one that it works on.
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
        let mut reads = self.requests_read(pid, threads).into_iter();
        let own = began.iter().map(|began| {
            reads
                .find(|read| read.saturating_add(SOON) >= *began)
                .filter(|read| read <= began)
        });
        let own: Option<Vec<u64>> = own.collect();
        own?.first().copied()
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
            let history = socket.history;
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

fn is_request(used: LastOperation) -> bool {
    used.kind == SocketOperation::Recv
}
