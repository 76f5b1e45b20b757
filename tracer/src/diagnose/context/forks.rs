//! Processes that were started for one connection: they began when it had been accepted, and have to do with no other.

use std::collections::{HashMap, HashSet};

use super::{ReportContext, threads::operations, waits::WaitsFor};
use crate::{
    model::{
        input::{Process, Thread},
        socket::{LastOperation, SocketOperation},
    },
    track::{Socket, Tracker},
};

/// Who accepts and starts a process for that does so at once: 500 ms.
const SOON: u64 = 500_000_000;

#[derive(Default)]
pub struct Forks {
    /// By process: the only accepted connection it touched.
    touching: HashMap<u32, u64>,
    /// By cookie: those that hold a connection of which `accept()` was the only use.
    holding: HashMap<u64, Vec<u32>>,
}

impl ReportContext<'_> {
    pub(super) fn find_forks(&self) -> Forks {
        let mut touched: HashMap<u32, HashSet<u64>> = HashMap::new();
        for (cookie, history) in self.threads.histories() {
            if self.threads.is_accepted(cookie) {
                for operation in operations(history) {
                    touched.entry(operation.pid).or_default().insert(cookie);
                }
            }
        }
        let mut touching = HashMap::new();
        for (pid, cookies) in &touched {
            let Some(cookie) = cookies.iter().next().filter(|_| cookies.len() == 1) else {
                continue;
            };
            let opened = self.threads.history(*cookie).and_then(|known| known.opened);
            let accepted = opened.filter(|opened| is_accept(opened) && opened.pid != *pid);
            let began = began(self.tracker, *pid);
            if accepted
                .zip(began)
                .is_some_and(|(opened, began)| began >= opened.at)
            {
                touching.insert(*pid, *cookie);
            }
        }
        Forks {
            touching,
            holding: find_holding(self.tracker, &touched),
        }
    }

    pub(super) fn is_forked_for(&self, pid: u32, cookie: u64) -> bool {
        self.forks.touching.get(&pid) == Some(&cookie)
    }

    /// Nobody has done more than accept it, who did has given up its descriptor, and who holds it now began right after that and
    /// holds no other: they are there to serve it.
    pub fn is_held_by_its_own(&self, cookie: u64) -> bool {
        self.forks.holding.contains_key(&cookie)
    }
}

impl<'a> ReportContext<'a> {
    /// The thread that is to serve it: the last that was started, unless that is not known of one of them.
    pub fn own_of(&self, cookie: u64) -> Option<&'a Thread> {
        let pids = self.forks.holding.get(&cookie)?.iter();
        let first = |pid: &u32| {
            let threads = self.tracker.threads(*pid);
            threads.iter().find(|thread| thread.tid == *pid)
        };
        let threads: Vec<&'a Thread> = pids.map(first).collect::<Option<_>>()?;
        let waits_for_child =
            |thread: &&&'a Thread| matches!(self.waits.of(thread), WaitsFor::Child);
        let serving = threads.iter().rfind(|thread| !waits_for_child(thread));
        serving.or(threads.last()).copied()
    }
}

fn find_holding(tracker: &Tracker, touched: &HashMap<u32, HashSet<u64>>) -> HashMap<u64, Vec<u32>> {
    let mut held: HashMap<u32, HashSet<u64>> = HashMap::new();
    let sockets = tracker.sockets();
    for socket in &sockets {
        for holder in &socket.holders {
            held.entry(holder.pid).or_default().insert(socket.cookie);
        }
    }
    let is_only = |pid: u32, cookie: u64| {
        let others = |cookies: &HashMap<u32, HashSet<u64>>| {
            cookies
                .get(&pid)
                .is_some_and(|all| all.iter().any(|one| *one != cookie))
        };
        !others(&held) && !others(touched)
    };
    let own = |socket: &&Socket| {
        let history = socket.history;
        let accepted = history.opened.filter(is_accept)?;
        if history.last_use().is_some() {
            return None;
        }
        let mut holders: Vec<(u64, u32)> = Vec::new();
        for holder in &socket.holders {
            let began = began(tracker, holder.pid)?;
            let after = holder.pid != accepted.pid && began >= accepted.at;
            if !after || !is_only(holder.pid, socket.cookie) {
                return None;
            }
            holders.push((began, holder.pid));
        }
        holders.sort_unstable();
        holders.dedup();
        let (first, _) = holders.first()?;
        let pids = || holders.iter().map(|(_, pid)| *pid).collect();
        (first - accepted.at < SOON).then(|| (socket.cookie, pids()))
    };
    sockets.iter().filter_map(own).collect()
}

const fn is_accept(opened: &LastOperation) -> bool {
    matches!(opened.kind, SocketOperation::Accept)
}

/// When the process began, by the clock of events, rounded up to a tick of /proc.
fn began(tracker: &Tracker, pid: u32) -> Option<u64> {
    const TICK: i64 = 10_000_000;
    let start = |process: &Process| process.start_wall;
    let at = tracker.at_wall(tracker.process(pid).and_then(start)?)?;
    u64::try_from(at.checked_add(TICK)?).ok()
}
