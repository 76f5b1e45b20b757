//! What the kernel program counted: events by stage, and closes by the places of their sockets.

use serde::{Deserialize, Serialize};

/// Sums over all CPUs since the hooks were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    pub seen: u64,
    pub submitted: u64,
    pub received: u64,
    pub lost: u64,
    /// The kernel ran a hook inside itself and skipped the inner run.
    pub missed: u64,
    pub stacks_limited: u64,
    pub stacks_lost: u64,
    pub slots_evicted: u64,
    pub damaged: u64,
    /// A map of the kernel program had no room, or not what must be in it.
    pub defects: u64,
    /// Stacks, processes and files forgotten to stay within the bounds.
    pub evicted: u64,
    /// Calls on sockets that a filter of ports lets through.
    #[serde(default)]
    pub matched: u64,
    /// Closes of healthy sockets that found no room to be counted.
    #[serde(default)]
    pub closes_uncounted: u64,
    /// Changes to epoll sets that found no room.
    #[serde(default)]
    pub epoll_changes_lost: u64,
}

/// So many sockets were opened at one place and closed at another; both are keys of stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseCount {
    pub opened: u64,
    pub closed: u64,
    pub count: u64,
}

impl Counters {
    /// Events that did not arrive, whatever the stage.
    pub fn all_lost(&self) -> u64 {
        self.lost + self.missed + self.damaged
    }
}
