//! Threads that are kept inside the program, by what they are for: computed once, since each of very many sockets asks.

use foldhash::HashMap;

use super::{ReportContext, idle, pools::Queue, waits::WaitsFor};
use crate::model::{actor::Actor, socket::LastOperation};

/// What threads of one pool have in common; `None` where that is not known.
pub(super) type Kind = Option<(String, String)>;

/// Threads of one kind that wait for something that is no new work, in functions of the program that others of it called.
pub(super) struct Kept {
    kind: Kind,
    one: Actor,
    /// Another one of that kind.
    are_more: bool,
    /// Since when each of them waits, in order.
    since: Vec<u64>,
}

/// Threads of one kind that sleep inside the program, as who looks after connections from time to time does.
pub(super) struct Sleepers {
    kind: Kind,
    all: Vec<Actor>,
}

/// Who begins to wait so soon after an operation may do so in its service.
const SOON: u64 = 500_000_000;

impl ReportContext<'_> {
    pub(super) fn find_kinds(&self) -> HashMap<Actor, Kind> {
        let threads = self
            .tracker
            .threaded()
            .flat_map(|pid| self.tracker.threads(pid));
        threads
            .map(|thread| (thread.actor(), self.kind(thread)))
            .collect()
    }

    /// By process. Its first thread waits like that for what it has started.
    pub(super) fn find_kept(&self) -> HashMap<u32, Vec<Kept>> {
        let mut kept: HashMap<u32, Vec<Kept>> = HashMap::default();
        for pid in self.tracker.threaded() {
            let threads = self.tracker.threads(pid).iter();
            let inside = threads.filter(|thread| {
                let own = thread.stack.iter().filter(|frame| self.is_own(frame));
                thread.tid != pid
                    && self.waits.of(thread).may_be_of_work()
                    && self.queue_before(thread) != Queue::No
                    && own.count() > 1
            });
            let of_process = kept.entry(pid).or_default();
            for thread in inside {
                let kind = self.kind(thread);
                match of_process.iter_mut().find(|known| known.kind == kind) {
                    Some(known) => {
                        known.are_more = true;
                        known.since.extend(thread.since);
                    }
                    None => of_process.push(Kept {
                        kind,
                        one: thread.actor(),
                        are_more: false,
                        since: thread.since.into_iter().collect(),
                    }),
                }
            }
            for kept in of_process {
                kept.since.sort_unstable();
            }
        }
        kept
    }

    /// By process. Its first thread sleeps like that for as long as the program runs.
    pub(super) fn find_sleepers(&self) -> HashMap<u32, Vec<Sleepers>> {
        let mut sleepers: HashMap<u32, Vec<Sleepers>> = HashMap::default();
        for pid in self.tracker.threaded() {
            let threads = self.tracker.threads(pid).iter();
            let sleeps = threads.filter(|thread| {
                let waits = self.waits.of(thread);
                let for_time = matches!(waits, WaitsFor::Time) || idle::sleeps(thread);
                let inside = self.blame(&thread.stack).is_some();
                thread.tid != pid && for_time && inside && !self.is_idle(thread)
            });
            for thread in sleeps {
                let kind = self.kind(thread);
                let of_process = sleepers.entry(pid).or_default();
                match of_process.iter_mut().find(|known| known.kind == kind) {
                    Some(known) => known.all.push(thread.actor()),
                    None => of_process.push(Sleepers {
                        kind,
                        all: vec![thread.actor()],
                    }),
                }
            }
        }
        sleepers
    }

    /// A thread of the process, of another kind than who made the operation, sleeps inside the program.
    pub fn does_another_sleep(&self, pid: u32, operation: LastOperation) -> bool {
        let by = operation.actor();
        let own = self.kinds.get(&by).and_then(Option::as_ref);
        let mut sleepers = self.sleepers.get(&pid).into_iter().flatten();
        sleepers.any(|sleepers| {
            let is_other = own.is_none() || sleepers.kind.as_ref() != own;
            is_other && sleepers.all.iter().any(|actor| *actor != by)
        })
    }

    pub fn is_some_kept(&self, pid: u32) -> bool {
        self.kept.get(&pid).is_some_and(|kept| !kept.is_empty())
    }

    /// A thread of the process, of another kind than who made the operation, is kept inside the program.
    pub fn is_another_kept(&self, pid: u32, operation: LastOperation) -> bool {
        self.others_kept(pid, operation).next().is_some()
    }

    /// And has begun to wait right after it.
    pub fn is_another_kept_since(&self, pid: u32, operation: LastOperation) -> bool {
        let soon = operation.at..operation.at.saturating_add(SOON);
        self.others_kept(pid, operation).any(|kept| {
            let first = kept.since.partition_point(|since| *since < soon.start);
            kept.since
                .get(first)
                .is_some_and(|since| soon.contains(since))
        })
    }

    fn others_kept(&self, pid: u32, operation: LastOperation) -> impl Iterator<Item = &Kept> {
        let by = operation.actor();
        let kind = self.kinds.get(&by).and_then(Option::as_ref);
        let kept = self.kept.get(&pid).into_iter().flatten();
        kept.filter(move |kept| {
            let is_other = kept.one != by || kept.are_more;
            is_other && (kind.is_none() || kept.kind.as_ref() != kind)
        })
    }
}
