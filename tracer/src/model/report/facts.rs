//! What a site may say beside its sockets and stacks: how it ended, whom it waits for, which workers
//! should have served it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A finding whose sockets are all gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Over {
    pub ended: Timestamp,
    /// `None` when nothing told how: the sockets were in no inventory any more.
    pub how: Option<Ended>,
    /// The longest that one of the sockets was stuck.
    pub longest_seconds: f64,
}

/// How most of the sockets of a finding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// By the program.
    Closed,
    /// Only the exit of the process closed them.
    Exit,
    /// By the peer or the kernel, while the program still had them open.
    Reset,
}

impl Ended {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Exit => "exit",
            Self::Reset => "reset",
        }
    }
}

/// The server that is asked on behalf of the stuck connections and does not answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    pub address: String,
    pub silent_seconds: f64,
    pub connections: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// With the numbers of its members replaced by one letter: `http-nio-exec-N`.
    pub name: super::Untrusted,
    pub busy: u32,
    pub size: u32,
    pub kind: PoolKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolKind {
    Threads,
    Goroutines,
    Greenlets,
    #[serde(rename = "virtual threads")]
    VirtualThreads,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    pub kind: WaitKind,
    /// For a person: which lock, whose answer.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    Lock,
    Upstream,
    Client,
    Epoll,
    Timer,
    Disk,
    Cpu,
}

/// In how many runs of one command a finding appeared (`run --repeat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    pub appeared: u32,
    pub of: u32,
}
