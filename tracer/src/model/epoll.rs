//! What epoll sets watch, and how that changes.

use serde::{Deserialize, Serialize};
use tracer_common::table::OPERATION_EPOLL;

use super::socket::{LastOperation, SocketOperation};

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
    /// Key of the user stack; 0 when there was none to read.
    #[serde(default)]
    pub stack: u64,
    pub change: EpollOperation,
    /// EPOLL* bits asked for from now on; 0 after a removal.
    pub events: u32,
}

impl EpollChange {
    /// As a system call on the socket.
    pub const fn operation(&self) -> LastOperation {
        LastOperation {
            stack: self.stack,
            at: self.at,
            pid: self.pid,
            tid: self.tid,
            kind: SocketOperation::from_wire(OPERATION_EPOLL),
            sp: 0,
            goroutine: None,
            virtual_thread: None,
            switches: 0,
        }
    }
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
