//! Connections that are not stuck yet, and likely to be.

use serde::{Deserialize, Serialize};

use super::{super::cookie::Cookie, Endpoint, Process, Remote};

/// Open connections of one process that are in the same danger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AboutToBeStuck {
    pub danger: Danger,
    pub summary: String,
    pub count: u64,
    /// `None` when its holder is gone or could not be found.
    pub process: Option<Process>,
    /// At most `--sockets-per-site`, the longest in danger first.
    pub sockets: Vec<EndangeredSocket>,
    pub sockets_omitted: u64,
}

/// What keeps the program from learning of the peer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Danger {
    /// Nothing is read and the receive window is 0: what the peer has to send, and its FIN behind it, cannot get in.
    WindowClosed,
    /// Keepalive probes are not answered.
    PeerSilent,
}

impl Danger {
    pub const fn name(self) -> &'static str {
        match self {
            Self::WindowClosed => "window-closed",
            Self::PeerSilent => "peer-silent",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndangeredSocket {
    pub cookie: Cookie,
    pub netns: u32,
    pub local: Endpoint,
    pub remote: Remote,
    /// So long it was watched in this danger, without a read in between.
    pub watched_seconds: f64,
    /// So long ago data came in last; `None` when the kernel cannot tell.
    pub last_data_seconds: Option<f64>,
    pub recv_q: u64,
    /// Keepalive probes in a row without an answer.
    pub probes: u32,
}
