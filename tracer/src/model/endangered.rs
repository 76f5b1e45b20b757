//! Connections that are open and likely to get stuck: what a look at them gives, before anything is judged.

use serde::{Deserialize, Serialize};
use tracer_common::state::ESTABLISHED;

use super::{
    input::{Connection, Process},
    report::Danger,
};

/// One look at the open connections of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenLook {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
    pub endangered: Vec<Endangered>,
    /// The processes that hold them, as far as they were looked for.
    pub processes: Vec<Process>,
}

/// A connection that shows a sign of danger at this look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endangered {
    pub connection: Connection,
    /// Who holds it; empty when not looked for yet, or gone.
    pub holders: Vec<u32>,
}

impl Connection {
    /// What it shows at one look. The advertised window (`tcpi_rcv_wnd`) is told since Linux 6.2. Keepalive
    /// probes and those that ask for room have one count (`icsk_probes_out`); the first are sent only when
    /// nothing waits to be sent (`net/ipv4/tcp_timer.c:tcp_keepalive_timer`), the others only when something does.
    pub fn danger(&self) -> Option<Danger> {
        /// One alone may have been lost, or be on its way.
        const UNANSWERED: u8 = 2;
        let tcp = self.tcp.filter(|_| self.state == ESTABLISHED)?;
        if self.recv_q > 0 && tcp.receive_window == Some(0) {
            return Some(Danger::WindowClosed);
        }
        let idle = self.send_q == 0 && tcp.unacked == 0;
        (idle && tcp.probes >= UNANSWERED).then_some(Danger::PeerSilent)
    }

    /// Bytes the program has read so far.
    pub fn bytes_read(&self) -> Option<u64> {
        let received = self.moved?.received;
        Some(received.saturating_sub(u64::from(self.recv_q)))
    }
}
