//! Who has how many sockets in which state, by process: the figures behind the totals of a report.

use std::collections::BTreeMap;

use super::SocketView;

/// By the first process that holds a socket; `None` where nobody does.
pub type ByPid = BTreeMap<Option<u32>, Holding>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub by_pid: ByPid,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub close_wait: u64,
    pub stuck: u64,
    pub hidden: u64,
    pub unaccepted: u64,
    /// Of the oldest stuck one, nanoseconds.
    pub oldest: u64,
}

impl Holdings {
    /// Sockets that have ended are no longer anybody's.
    pub(super) fn add(&mut self, view: &SocketView<'_>, is_stuck: bool) {
        if view.has_ended() {
            return;
        }
        let holder = view.holder_pids().first().copied();
        let holding = self.by_pid.entry(holder).or_default();
        holding.close_wait += u64::from(view.in_close_wait());
        if is_stuck {
            holding.stuck += 1;
            holding.hidden += u64::from(view.is_hidden());
            holding.unaccepted += u64::from(view.is_unaccepted());
            holding.oldest = holding.oldest.max(view.age());
        }
    }
}
