//! Connections that are open, as the kernel tells of them, and what is needed to end one.

use serde::{Deserialize, Serialize};

use super::socket::Endpoints;

/// A socket as `sock_diag` shows it (`include/uapi/linux/inet_diag.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    pub cookie: u64,
    pub inode: u64,
    pub endpoints: Endpoints,
    pub state: u8,
    pub recv_q: u32,
    pub send_q: u32,
    /// `None` when the kernel did not tell.
    #[serde(default)]
    pub moved: Option<Moved>,
    #[serde(default)]
    pub netns: u32,
    #[serde(default)]
    pub tcp: Option<TcpFacts>,
}

/// Bytes that have gone over a connection (`include/uapi/linux/tcp.h:tcp_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Acknowledged by the peer.
    pub sent: u64,
    pub received: u64,
    /// How long ago data came last, by the last look; not what the peer only acknowledged.
    pub received_ago: u64,
}

/// What else TCP counts of a connection (`struct tcp_info`). Moments are of `CLOCK_MONOTONIC`, and those of the
/// connection's beginning as long as nothing was sent or received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpFacts {
    /// When data was last sent; `None` when that is too long ago for the kernel to tell.
    pub sent_at: Option<u64>,
    pub received_at: Option<u64>,
    /// Segments sent that the peer has not acknowledged.
    pub unacked: u32,
    /// Sent in a row without an answer, to learn whether the peer lives or has room again.
    pub probes: u8,
    /// Timeouts in a row without an answer.
    pub retransmits: u8,
    /// Bytes the peer may still send; `None` before 6.2.
    pub receive_window: Option<u32>,
    /// Bytes that may still be sent to it; `None` before 5.4.
    pub send_window: Option<u32>,
}

/// What is needed to end single connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relief {
    /// This kernel can (`CONFIG_INET_DIAG_DESTROY`); `None` when that could not be tried.
    pub kernel_can: Option<bool>,
    /// Of the tracer: connections in it need no other namespace to be entered.
    pub own_netns: u32,
    /// Other namespaces, each with a process in it.
    pub namespaces: Vec<(u32, u32)>,
}
