//! What processes are in the habit of doing with the sockets of their event loops, from the changes to epoll sets that were
//! seen.

use foldhash::{HashMap, HashSet};

use tracer_common::event::TELLS_OF_FIN;

use super::threads::operations;
use crate::{
    model::input::{EpollChange, EpollOperation},
    track::Tracker,
};

#[derive(Default)]
pub struct LoopHabits {
    /// By process: sockets that were taken out of an epoll set and put back.
    returned: HashMap<u32, usize>,
    /// Those of them that were closed afterwards.
    finished: HashMap<u32, usize>,
    /// By the place of the last operation: how stuck sockets were seen to be taken out afterwards.
    taken_out_at: HashMap<u64, EpollChange>,
}

impl LoopHabits {
    /// `place` gives one number for all keys of stacks with the same frames.
    pub fn new(tracker: &Tracker, place: impl Fn(u64) -> Option<u64>) -> Self {
        let mut habits = Self::default();
        let live = tracker.activity().iter().map(|live| live.cookie);
        let stuck = tracker.sockets().map(|socket| socket.cookie);
        let open = tracker.connections().iter().map(|open| open.cookie);
        let alive: HashSet<u64> = live.chain(stuck).chain(open).collect();
        for changes in tracker.all_epoll_changes() {
            let is_closed = (changes.first()).is_some_and(|first| !alive.contains(&first.cookie));
            for pid in returned(changes) {
                *habits.returned.entry(pid).or_default() += 1;
                *habits.finished.entry(pid).or_default() += usize::from(is_closed);
            }
        }
        for socket in tracker.sockets() {
            let last = operations(&socket.history).max_by_key(|last| last.at);
            if let Some(last) = last
                && let Some(change) = left_at(tracker.epoll_changes(socket.cookie), last.at)
                && let Some(place) = place(last.stack)
            {
                habits.taken_out_at.entry(place).or_insert(change);
            }
        }
        habits
    }

    pub fn returned(&self, pid: u32) -> usize {
        self.returned.get(&pid).copied().unwrap_or(0)
    }

    pub fn finished(&self, pid: u32) -> usize {
        self.finished.get(&pid).copied().unwrap_or(0)
    }

    pub fn taken_out_at(&self, place: u64) -> Option<EpollChange> {
        self.taken_out_at.get(&place).copied()
    }
}

/// The last change, if it takes the socket out of its loop and came after this moment.
pub fn left_at(changes: &[EpollChange], last_used: u64) -> Option<EpollChange> {
    let last = changes.last().filter(|change| takes_out(change))?;
    (last.at >= last_used).then_some(*last)
}

/// The processes that took this socket out and put it back.
fn returned(changes: &[EpollChange]) -> HashSet<u32> {
    let mut out = HashSet::default();
    let mut back = HashSet::default();
    for change in changes {
        if takes_out(change) {
            out.insert(change.pid);
        } else if out.remove(&change.pid) {
            back.insert(change.pid);
        }
    }
    back
}

fn takes_out(change: &EpollChange) -> bool {
    change.change == EpollOperation::Remove || change.events & TELLS_OF_FIN == 0
}
