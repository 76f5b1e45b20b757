//! One state transition, as `sockleak trace` shows it.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::tcp_state::TcpState;
use super::untrusted::Untrusted;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    pub at: Timestamp,
    pub cookie: u64,
    pub netns: u32,
    /// Only when the transition ran in its owner's context. In softirq, and on loopback in the
    /// peer's task, the current process is someone else and must not be named.
    pub process: Option<TraceProcess>,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub old: TcpState,
    pub new: TcpState,
    /// `None` when the socket entered `old` before the tracer was there to see it.
    pub in_old: Option<Duration>,
    /// `None` when the kernel context does not prove one.
    pub cause: Option<TransitionCause>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceProcess {
    pub pid: u32,
    pub tid: u32,
    pub comm: Untrusted,
}

/// What made the transition happen, where socket flags and task flags tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransitionCause {
    /// This side called `close()`.
    Close,
    /// This side called `shutdown()`; the descriptor stays open.
    Shutdown,
    /// The kernel closed it because the process exited.
    Exit,
    /// The peer's FIN arrived.
    PeerFin,
    /// The peer's RST arrived.
    PeerReset,
    /// Keepalive or retransmission gave up.
    Timeout,
}

impl TransitionCause {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Shutdown => "shutdown",
            Self::Exit => "exit",
            Self::PeerFin => "peer_fin",
            Self::PeerReset => "peer_reset",
            Self::Timeout => "timeout",
        }
    }
}
