//! Threads of control that are not the kernel's: what is told of goroutines and tasks beside what they wait in.

use serde::{Deserialize, Serialize};

use super::{input::Thread, stack::Frame};

/// What started a goroutine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Created {
    /// The id of the goroutine that did, where its runtime remembers it.
    pub by: Option<u64>,
    /// The functions in which it did, innermost first.
    pub at: Vec<Frame>,
}

/// Whether a Java virtual machine has started this thread for its virtual ones: `sun.nio.ch.Poller` of JDK 21 and 25,
/// `java.lang.VirtualThread.createDelayedTaskScheduler`.
pub fn is_for_virtual_threads(comm: &str) -> bool {
    const NAMES: [&str; 3] = ["Read-Poller", "MasterPoller", "VirtualThread-u"];
    NAMES.iter().any(|name| comm.starts_with(name))
}

/// A suspended task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AsyncTask {
    /// What it is in.
    pub thread: Thread,
    /// Inodes of sockets that a variable of its coroutines leads to, and over how many references.
    pub holds: Vec<(u64, u8)>,
}
