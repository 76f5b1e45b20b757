//! What the event loops of a process know of a socket: the epoll sets that hold it, and who waits for them.

use tracer_common::event::TELLS_OF_FIN;

use super::SocketView;
use crate::model::{
    input::{Interest, Thread},
    wait::Wait,
};

/// Event bits of `include/uapi/linux/eventpoll.h`.
pub const ONE_SHOT: u32 = 1 << 30;
pub const EDGE: u32 = 1 << 31;
/// All that is left of a one-shot registration that has fired (`fs/eventpoll.c:EP_PRIVATE_BITS`).
pub const PRIVATE: u32 = 1 << 28 | 1 << 29 | ONE_SHOT | EDGE;

/// A registration in an epoll set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    pub pid: u32,
    /// Descriptor of the set; 0 when unknown.
    pub set: u32,
    pub events: u32,
}

impl<'a> SocketView<'a> {
    /// The registration of it, by its inode; by its number only where the inode is unknown.
    pub fn watch(&self) -> Option<Watch> {
        // The poller of Go has all sockets of its program, whoever waits for them: that the goroutines tell.
        if self.knows_goroutines() {
            return None;
        }
        self.socket.holders.iter().find_map(|holder| {
            let interest = self
                .context
                .interest(holder.pid, self.socket.inode, holder.fd)?;
            let Interest { set, events, .. } = interest;
            Some(Watch {
                pid: holder.pid,
                set,
                events,
            })
        })
    }

    /// An epoll set watches it, and somebody may still act on what that tells.
    pub fn is_watched(&self) -> bool {
        self.watch().is_some() && !self.was_told_once()
    }

    /// Its edge-triggered registration has told of the hang-up, which it does once, and the loop has gone
    /// back to waiting; or a runtime's one-shot registration has woken the task that waited.
    pub fn was_told_once(&self) -> bool {
        self.watch().is_some_and(|watch| {
            let edge = watch.events & EDGE != 0
                && watch.events & ONE_SHOT == 0
                && watch.events & TELLS_OF_FIN != 0;
            let spent = watch.events & ONE_SHOT != 0 && watch.events & !PRIVATE == 0;
            edge && self.waiter(watch).is_some() || (edge || spent) && self.runs_tasks()
        })
    }

    /// A thread that waits for events of that very set.
    pub fn waiter(&self, watch: Watch) -> Option<&'a Thread> {
        let threads = self.tracker.threads(watch.pid);
        threads.iter().find(|thread| {
            let waits = super::context::decoded::decoded(thread);
            match &*waits {
                Wait::Epoll { set } => watch.set == 0 || *set == 0 || *set == watch.set,
                _ => false,
            }
        })
    }

    /// Were the epoll sets of all holders looked at? Without a known holder there was nothing to see.
    pub fn epoll_known(&self) -> bool {
        !self.socket.holders.is_empty()
            && self
                .socket
                .holders
                .iter()
                .all(|holder| self.tracker.epoll(holder.pid).is_some())
    }

    /// A loop would be told of it again and again until it is read.
    pub fn would_be_told(&self, watch: Watch) -> bool {
        watch.events & TELLS_OF_FIN != 0 && watch.events & (EDGE | ONE_SHOT) == 0
    }
}
