//! Whether anybody asks for a socket now: threads in `poll` and `select`, goroutines, and the pools of its holders.

use super::{
    SocketView,
    context::{decoded::decoded, pools::Pool},
};
use crate::model::wait::{FileKind, Polled, Wait};

impl<'a> SocketView<'a> {
    /// A thread of its holders asks for it with `poll` or `select`, or a goroutine waits for it.
    pub fn is_polled(&self) -> bool {
        let inode = self.socket.inode;
        let mut pids = self.holder_pids().iter();
        pids.any(|pid| self.context.is_awaited(*pid, inode))
            || self.polls().any(|polled| {
                polled
                    .members
                    .iter()
                    .any(|member| member.target.file == FileKind::Socket(self.socket.inode))
            })
    }

    /// For what threads of its holders ask with `poll` or `select` was read in full.
    pub fn polls_known(&self) -> bool {
        self.polls().all(|polled| polled.complete)
    }

    pub fn polls(&self) -> impl Iterator<Item = Polled> + use<'a, '_> {
        let pids = self.holder_pids().iter();
        let threads = pids.flat_map(|pid| self.tracker.threads(*pid));
        threads.filter_map(|thread| match decoded(thread).into_owned() {
            Wait::Poll(polled) => Some(polled),
            _ => None,
        })
    }

    /// The pool of one of its holders that has no thread left to serve anything.
    pub fn starving_pool(&self) -> Option<&'a Pool<'a>> {
        let pool = |pid: &u32| self.context.pool_of(*pid);
        self.holder_pids().iter().find_map(pool)
    }
}
