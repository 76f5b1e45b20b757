//! A half-closed connection that somebody still reads or writes: it is not stuck.

use super::SocketView;
use crate::model::socket::{LastOperation, SocketOperation};

impl SocketView<'_> {
    pub(super) fn is_in_use(&self) -> bool {
        self.in_close_wait()
            && (self.is_taken_slowly()
                || self.socket.history.used.is_some_and(|used| {
                    self.moves(used) && self.now.saturating_sub(used.at) < self.min_age
                }))
    }

    /// A read that left data behind is followed by others; one that took the last is not.
    pub(super) fn moves(&self, used: LastOperation) -> bool {
        let goes_on = match used.kind {
            SocketOperation::Send => true,
            SocketOperation::Recv => self.socket.recv_q > 1,
            _ => false,
        };
        goes_on && used.at > self.socket.since
    }

    /// A thread is in a write to it, and its peer has taken more from one look to the next.
    fn is_taken_slowly(&self) -> bool {
        let taken_at = self.socket.taken_at;
        taken_at != 0
            && self.now.saturating_sub(taken_at) < self.min_age
            && self.context.writing_to(self.socket.cookie).is_some()
    }

    /// A thread is in a write to it: whether its peer takes that, only the next look can tell, if there is one.
    pub(super) fn is_write_seen_once(&self) -> bool {
        let looks_again = self.tracker.run_header().is_some_and(|header| header.live);
        looks_again
            && self.socket.looks < 2
            && self.context.writing_to(self.socket.cookie).is_some()
    }
}
