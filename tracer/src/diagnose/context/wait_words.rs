//! What a thread waits for, in words for people and in the report's own.

use std::borrow::Cow;

use tracer_common::state::SYN_SENT;

use super::waits::WaitsFor;
use crate::model::{endpoint::Endpoint, input::Connection, report::WaitKind};

impl WaitsFor<'_> {
    /// Completes "waits for …".
    pub fn words(self) -> Cow<'static, str> {
        let remote = |connection: &Connection| Endpoint(connection.endpoints.remote);
        match self {
            Self::Upstream(connection) if connection.state == SYN_SENT => {
                format!("upstream {} to accept the connection", remote(connection)).into()
            }
            Self::Upstream(connection) => {
                format!("an answer from upstream {}", remote(connection)).into()
            }
            Self::ClientSends(connection) => {
                format!("client {} to send something", remote(connection)).into()
            }
            Self::PeerReads(connection) => format!(
                "{} to take what is written, whose Send-Q holds {} bytes",
                remote(connection),
                connection.send_q
            )
            .into(),
            Self::Reader(fd) => format!(
                "whoever should read what it writes to descriptor {fd}, a pipe, a file or a local socket"
            )
            .into(),
            Self::Lock(Some(owner)) => format!("a lock that thread {owner} holds").into(),
            Self::Lock(None) => "a lock".into(),
            Self::Futex => "a lock, a condition or another thread".into(),
            Self::Taker => "another goroutine to take what it sends to a channel".into(),
            Self::FromChannel => "something to come from a channel".into(),
            Self::Channels => "one of several channels".into(),
            Self::Condition => "a condition to be signalled".into(),
            Self::Group => "other goroutines to be done".into(),
            Self::Task => "another task, or an event of its loop".into(),
            Self::Time => "a time to pass".into(),
            Self::Disk => "a disk or a file".into(),
            Self::Child => "a child process".into(),
            Self::NewConnections => "new connections".into(),
            Self::Set(set) => format!("events of epoll set {set}").into(),
            Self::Several => "one of several descriptors".into(),
            Self::Message => "a message from another thread or process".into(),
            Self::Cpu => "nothing: it was on the CPU when looked at".into(),
            Self::Stopped => "a signal to go on: it is stopped".into(),
            Self::Other => "something in the kernel".into(),
            Self::Unknown => "what could not be read".into(),
        }
    }

    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Upstream(_) => {
                "Put a time limit on requests to that server (connect and read), and close what depends on them."
            }
            Self::ClientSends(_) => {
                "Put a time limit on reading from clients, so that one that says nothing frees its worker."
            }
            Self::PeerReads(_) => {
                "Put a time limit on writing, or close clients that stop reading."
            }
            Self::Reader(_) => {
                "Find who should read at the other end of that descriptor, such as a logger, or write to it without \
                 waiting."
            }
            Self::Lock(_) | Self::Futex => {
                "Find who holds the lock or should signal the condition, and put a time limit on waiting for it."
            }
            Self::Taker | Self::FromChannel | Self::Channels | Self::Condition | Self::Group => {
                "Find the goroutine that should answer, and give the wait a deadline (a context, or a select with a timer)."
            }
            Self::Task => {
                "Find what should complete what the task awaits, and give it a time limit (`asyncio.timeout`, `wait_for`)."
            }
            Self::Cpu => {
                "Bound the computation, or move it off the thread that serves connections."
            }
            Self::Disk | Self::Child | Self::Time => {
                "Move the wait off the thread that serves connections, or put a time limit on it."
            }
            _ => "Look at what the thread does and put a time limit on it.",
        }
    }

    /// The report's word for it.
    pub const fn kind(self) -> Option<WaitKind> {
        match self {
            Self::Upstream(_) => Some(WaitKind::Upstream),
            Self::ClientSends(_) | Self::PeerReads(_) | Self::NewConnections => {
                Some(WaitKind::Client)
            }
            Self::Lock(_) | Self::Futex => Some(WaitKind::Lock),
            Self::Taker | Self::FromChannel | Self::Channels | Self::Condition | Self::Group => {
                Some(WaitKind::Lock)
            }
            Self::Set(_) | Self::Several | Self::Message => Some(WaitKind::Epoll),
            Self::Time => Some(WaitKind::Timer),
            Self::Cpu => Some(WaitKind::Cpu),
            Self::Disk => Some(WaitKind::Disk),
            Self::Reader(_)
            | Self::Task
            | Self::Child
            | Self::Stopped
            | Self::Other
            | Self::Unknown => None,
        }
    }
}
