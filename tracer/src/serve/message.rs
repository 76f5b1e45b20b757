//! What is said between the tracer and the process that answers requests, and how much of it.

use serde::{Deserialize, Serialize};

use super::config::Loaded;

/// A report of 500 sites with their stacks has about 10 MiB.
pub(super) const MAX_MESSAGE: usize = 96 << 20;
pub(super) const MAX_ANSWER: usize = 4096;

/// From the tracer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// Comes with the descriptor of a socket that listens.
    Listener(Kind),
    /// Replaces the one before.
    Config(Box<Setup>),
    /// JSON of a `Published`; replaces the one before.
    Published(Vec<u8>),
    /// The tracer runs, and has nothing new.
    Alive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Tcp,
    Unix,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Setup {
    pub web: Loaded,
    /// Names by which this host may be asked, beside addresses.
    pub hosts: Vec<String>,
    pub max_sites: usize,
}

/// To the tracer, once: it can be talked to now.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ready {
    /// What of the sandbox could not be had.
    pub without: Vec<Missing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Missing {
    User,
    Files,
    SystemCalls,
    Limits,
}

impl Missing {
    pub(super) const fn means(self) -> &'static str {
        match self {
            Self::User => "it keeps the tracer's user or capabilities",
            Self::Files => "it could open files (landlock: CONFIG_SECURITY_LANDLOCK)",
            Self::SystemCalls => "its system calls are not filtered (CONFIG_SECCOMP_FILTER)",
            Self::Limits => "its memory is not bounded",
        }
    }
}
