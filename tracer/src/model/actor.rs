//! Who acts on sockets: a thread, or a goroutine or virtual thread, which may be on any thread of its process.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A thread of control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    Thread(u32),
    Goroutine(Goroutine),
    Task(Task),
}

/// Ids are never used twice in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Goroutine {
    pub pid: u32,
    pub id: u64,
}

/// One of asyncio's, by the address of its object: no other one has it at the same time. Or a virtual thread of Java, by the
/// number that its machine gives once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Task {
    pub pid: u32,
    pub id: u64,
    #[serde(default)]
    pub is_virtual_thread: bool,
}

impl Task {
    pub const fn virtual_thread(pid: u32, id: u64) -> Self {
        Self {
            pid,
            id,
            is_virtual_thread: true,
        }
    }
}

impl Actor {
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Thread(_) => "thread",
            Self::Goroutine(_) => "goroutine",
            Self::Task(task) if task.is_virtual_thread => "virtual thread",
            Self::Task(_) => "task",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Thread(tid) => write!(f, "{kind} {tid}"),
            Self::Goroutine(goroutine) => write!(f, "{kind} {}", goroutine.id),
            Self::Task(task) if task.is_virtual_thread => write!(f, "{kind} {}", task.id),
            Self::Task(task) => write!(f, "{kind} {:#x}", task.id),
        }
    }
}
