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

    /// Whoever touched it last asks with `poll` or `select` for connections, and for something besides: a pipe or the like, on
    /// which another thread or process may answer for it. An event loop that has taken it out looks like that.
    pub fn may_be_answered_for(&self) -> bool {
        let last = self.last_operation();
        let thread = last.and_then(|last| self.context.threads.seen(last.actor()));
        let Some(Wait::Poll(polled)) = thread.map(decoded).as_deref().cloned() else {
            return false;
        };
        let asks = |is: fn(FileKind) -> bool| {
            let mut members = polled.members.iter();
            members.any(|member| member.input && is(member.target.file))
        };
        asks(|file| file.socket().is_some())
            && asks(|file| {
                matches!(
                    file,
                    FileKind::Pipe | FileKind::EventFd | FileKind::LocalSocket | FileKind::Other
                )
            })
    }

    /// The pool of one of its holders that has no thread left to serve anything.
    pub fn starving_pool(&self) -> Option<&'a Pool<'a>> {
        let pool = |pid: &u32| self.context.pool_of(*pid);
        self.holder_pids().iter().find_map(pool)
    }
}
