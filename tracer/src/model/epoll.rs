//! What epoll sets watch, and how that changes.

use serde::{Deserialize, Serialize};

/// A line of an epoll descriptor's fdinfo (`fs/eventpoll.c:ep_show_fdinfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// As it was called when it was added: the number may name another file by now.
    pub fd: u32,
    /// EPOLL* bits asked for.
    pub events: u32,
    /// Of the file that is watched, which tells it exactly; 0 when unknown.
    #[serde(default)]
    pub inode: u64,
    /// Descriptor of the epoll set it is in.
    #[serde(default)]
    pub set: u32,
}

/// A successful `epoll_ctl` on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpollChange {
    pub at: u64,
    pub pid: u32,
    pub tid: u32,
    /// Descriptor of the epoll set.
    pub set: u32,
    pub cookie: u64,
    pub change: EpollOperation,
    /// EPOLL* bits asked for from now on; 0 after a removal.
    pub events: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpollOperation {
    Add,
    Modify,
    Remove,
}

/// It was seen what these event loops did with their sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopsWatched {
    pub pid: u32,
    pub from: u64,
    pub to: u64,
}
