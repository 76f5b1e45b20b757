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

    /// A thread is in a write to it, of which more has gone in from one look to the next: its peer takes it.
    fn is_taken_slowly(&self) -> bool {
        let moved_at = self.socket.moved_at;
        moved_at != 0
            && self.now.saturating_sub(moved_at) < self.min_age
            && self.context.writing_to(self.socket.cookie).is_some()
    }
}
