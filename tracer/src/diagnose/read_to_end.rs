//! How a socket was read to its end: along with data, by calls that nobody watches, or but for the end, as a client's pool
//! leaves it.

use super::SocketView;
use crate::model::{report::Direction, socket::SocketOperation};

impl SocketView<'_> {
    /// Everything is read, the FIN included, yet no read returned 0: a read got data and the FIN in one go
    /// (`net/ipv4/tcp.c:tcp_recvmsg_locked`), and nobody was told of the end. Such a read comes after the
    /// FIN, and finds data that lay there with it; otherwise the FIN was taken by something no hook sees.
    pub fn fin_came_with_data(&self) -> bool {
        let (history, entry) = (*self.socket.history, self.socket.entry);
        self.socket.recv_q == 0
            && history.eof.is_none()
            && !entry.is_some_and(|entry| entry.only_fin_unread)
            && self.sees_reads()
            && history
                .used
                .is_some_and(|used| used.at >= self.socket.since)
    }

    /// Something no hook sees has read it to its end: `splice()`, as Go's `io.Copy` from one connection to another. Of a
    /// stuck socket nothing is left to read, the FIN included (`net/ipv4/tcp.c:tcp_read_sock` takes it as a read does).
    pub fn was_read_unseen(&self) -> bool {
        let history = *self.socket.history;
        self.in_close_wait()
            && self.socket.recv_q == 0
            && !self.is_unaccepted()
            && history.eof.is_none()
            && self.sees_reads()
            && self.whole_life_seen()
            && self.nothing_lost()
            && !self.fin_came_with_data()
    }

    /// A client's connection whose last answer is read: only the FIN is left, or came along. A pool has such, until it
    /// takes them out.
    pub fn is_pooled_perhaps(&self) -> bool {
        let read_in_full =
            self.socket.recv_q == 1 || self.fin_came_with_data() || self.has_parting_words();
        self.is_outgoing_perhaps() && read_in_full
    }

    /// Connected here, or nobody saw by what it was opened and it looks so: no listener here has its port, and the peer's is
    /// the lower one, as a service's is below those that the kernel gives to clients.
    fn is_outgoing_perhaps(&self) -> bool {
        let endpoints = &self.socket.endpoints();
        match self.direction() {
            Some(direction) => direction == Direction::Connected,
            None => endpoints.remote.port() < endpoints.local.port(),
        }
    }

    /// A peer that was gone would have answered what was written since then with a reset.
    pub fn was_answered_after_end(&self) -> bool {
        let used = self.socket.history.used;
        used.is_some_and(|used| used.kind == SocketOperation::Send && used.at > self.socket.since)
    }

    /// The process has left answers of the same server unread on other connections.
    pub fn others_left_answers(&self) -> bool {
        let server = self.socket.endpoints().remote;
        let mut pids = self.holder_pids().iter();
        pids.any(|pid| self.context.answers_left.contains(&(*pid, server)))
    }

    /// Its thread opens others to the same server while it has such as are idle.
    pub fn is_passed_over(&self) -> bool {
        let opened = self.socket.history.opened;
        let key = opened.map(|opened| (opened.actor(), self.socket.endpoints().remote));
        key.is_some_and(|key| self.context.passes_over.contains(&key))
    }

    /// Nothing was read after what was written last.
    pub fn is_last_written(&self) -> bool {
        let last = self.last_operation();
        last.is_some_and(|last| last.kind == SocketOperation::Send)
    }

    /// Data that came together with the FIN, long after the last answer was read: what a server says when it hangs
    /// up on an idle client. An answer that was left unread goes on where the last read ended.
    pub fn has_parting_words(&self) -> bool {
        const PAUSE: u64 = 1_500_000_000;
        /// The clock of arrivals has steps of up to 10 ms.
        const TOGETHER: u64 = 100_000_000;
        let (socket, history) = (self.socket, *self.socket.history);
        let paused = history.used.is_some_and(|used| {
            used.kind == SocketOperation::Recv && socket.last_data >= used.at.saturating_add(PAUSE)
        });
        socket.recv_q > 1
            && history.eof.is_none()
            && paused
            && socket.since.abs_diff(socket.last_data) < TOGETHER
    }
}
