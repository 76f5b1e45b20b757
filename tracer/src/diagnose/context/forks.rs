//! Processes that were started for one connection: they began when it had been accepted, and have to do with no other.

use foldhash::HashMap;

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

/// The connections that a process has to do with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connections {
    Only(u64),
    Several,
}

#[derive(Default)]
struct ByProcess(HashMap<u32, Connections>);

impl ByProcess {
    fn note(&mut self, pid: u32, cookie: u64) {
        let only = Connections::Only(cookie);
        let known = self.0.entry(pid).or_insert(only);
        if *known != only {
            *known = Connections::Several;
        }
    }

    fn has_others(&self, pid: u32, cookie: u64) -> bool {
        let known = self.0.get(&pid);
        known.is_some_and(|known| *known != Connections::Only(cookie))
    }
}

#[derive(Default)]
pub struct Forks {
    /// By process: the only accepted connection it touched.
    touching: HashMap<u32, u64>,
    /// By cookie: those that hold a connection of which `accept()` was the only use.
    holding: HashMap<u64, Vec<u32>>,
}

impl ReportContext<'_> {
    pub(super) fn find_forks(&self) -> Forks {
        let mut touched = ByProcess::default();
        for (cookie, history) in self.threads.histories() {
            if self.threads.is_accepted(cookie) {
                for operation in operations(&history) {
                    touched.note(operation.pid, cookie);
                }
            }
        }
        let mut touching = HashMap::default();
        for (pid, connections) in &touched.0 {
            let Connections::Only(cookie) = connections else {
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

fn find_holding(tracker: &Tracker, touched: &ByProcess) -> HashMap<u64, Vec<u32>> {
    let mut held = ByProcess::default();
    for socket in tracker.sockets() {
        for holder in &socket.holders {
            held.note(holder.pid, socket.cookie);
        }
    }
    let is_only = |pid, cookie| !held.has_others(pid, cookie) && !touched.has_others(pid, cookie);
    let own = |socket: &Socket| {
        let history = *socket.history;
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
    tracker.sockets().filter_map(own).collect()
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
