//! The thread that serves a socket: what it does now, and whether that is still about this socket.

use super::{SocketView, pool};
use crate::model::{input::Thread, socket::LastOperation, stack::Frame};

/// System calls in which a thread waits for new work rather than working.
const WAITING: &[&str] = &[
    "accept",
    "accept4",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "io_uring_enter",
];
const LOOPS: &[&str] = &["epoll_wait", "epoll_pwait", "epoll_pwait2"];
const SELECTS: &[&str] = &["select", "pselect6"];
/// Seen on the CPU at every look for at least this long: 1 s.
const RUNS_LONG: u64 = 1_000_000_000;

/// The thread that serves a socket, kept from it.
#[derive(Clone, Copy)]
pub struct ServingThread<'a> {
    pub thread: &'a Thread,
    pub pid: u32,
    /// On the CPU at every look since then; else it is blocked.
    pub runs_since: Option<u64>,
}

impl<'a> SocketView<'a> {
    /// The thread that made this operation, if it is still inside the function that made it and is not
    /// merely waiting for the next piece of work: then the socket is not forgotten but its owner is
    /// busy or blocked.
    pub fn still_at_it(&self, operation: Option<LastOperation>) -> Option<&'a Thread> {
        let operation = operation?;
        let thread = self.thread_of(operation).filter(|thread| !waits(thread))?;
        let then = self.stack(Some(operation))?;
        let blamed = self.blamed(then)?;
        let same = |frame: &Frame| blamed.function.is_some() && frame.is_same_code(blamed);
        thread.stack.iter().any(same).then_some(thread)
    }

    /// The thread that should go on with this socket and cannot: the one that touched it last, and touched
    /// no other living socket since, blocked inside the same function or on the CPU all the time; or, for
    /// a socket in an epoll set, the loop's thread blocked in something else.
    pub fn serving_thread(&self) -> Option<ServingThread<'a>> {
        let operation = self.last_operation()?;
        let thread = self.thread_of(operation)?;
        let still_growing = self.went_on(operation);
        let serving_thread = |runs_since| ServingThread {
            thread,
            pid: operation.pid,
            runs_since,
        };
        let runs = self.tracker.running_since(operation.tid);
        if let Some(since) = runs.filter(|since| self.now.saturating_sub(*since) >= RUNS_LONG) {
            return (!still_growing).then(|| serving_thread(Some(since)));
        }
        if !still_growing && self.still_at_it(Some(operation)).is_some() {
            return Some(serving_thread(None));
        }
        let blocked = thread.syscall.is_some() && !waits(thread);
        // What it did then has no names, what it does now has.
        let dumped = || thread.stack.iter().any(pool::is_dumped);
        let busy = || pool::is_busy(self.tracker, self.context, self.blamer, thread);
        if !still_growing && blocked && self.is_nameless(operation) && dumped() && busy() {
            return Some(serving_thread(None));
        }
        let alone = !self.some_thread_is_in(LOOPS);
        (self.epoll_would_tell() && blocked && alone).then(|| serving_thread(None))
    }

    /// Nothing tells whether the thread that made this operation has moved on: it lives, is blocked, has touched
    /// nothing since, and what it did then has no names to compare.
    pub fn may_be_at_it(&self, operation: Option<LastOperation>) -> bool {
        operation.is_some_and(|operation| {
            let thread = self.thread_of(operation);
            let blocked = thread.is_some_and(|thread| thread.syscall.is_some() && !waits(thread));
            blocked && self.is_nameless(operation) && !self.went_on(operation)
        })
    }

    /// The operation that proves the owner has no named place in the program.
    pub fn is_nameless(&self, operation: LastOperation) -> bool {
        let blamed = self
            .stack(Some(operation))
            .and_then(|stack| self.blamed(stack));
        blamed.is_none_or(|frame| frame.function.is_none())
    }

    /// Has the thread that made this operation turned to another connection? One that it opened itself may be
    /// in the service of an accepted one.
    fn went_on(&self, operation: LastOperation) -> bool {
        let newest = self.context.newest_of(operation.tid);
        newest.is_some_and(|(cookie, _)| {
            let asks =
                self.context.is_connected(cookie) && !self.context.is_connected(self.socket.cookie);
            cookie != self.socket.cookie && !asks
        })
    }

    /// The owner was seen on the CPU, but not for long enough to say that it does nothing else.
    pub fn serving_thread_may_be_busy(&self) -> Option<u64> {
        let operation = self.last_operation()?;
        let since = self.tracker.running_since(operation.tid)?;
        if self.went_on(operation) {
            return None;
        }
        (self.now.saturating_sub(since) < RUNS_LONG).then_some(since + RUNS_LONG)
    }

    fn thread_of(&self, operation: LastOperation) -> Option<&'a Thread> {
        let threads = self.tracker.threads(operation.pid);
        threads.iter().find(|thread| thread.tid == operation.tid)
    }

    /// An epoll set watches it and will report readable data again and again until it is read.
    fn epoll_would_tell(&self) -> bool {
        self.epoll_events().is_some_and(|events| {
            events & epoll::TELLS_OF_FIN != 0 && events & (epoll::EDGE | epoll::ONE_SHOT) == 0
        })
    }

    fn some_thread_is_in(&self, calls: &[&str]) -> bool {
        self.holder_pids().iter().any(|pid| {
            self.tracker.threads(*pid).iter().any(|thread| {
                thread
                    .syscall
                    .as_deref()
                    .is_some_and(|name| calls.contains(&name))
            })
        })
    }

    /// A thread of the holders waits in its event loop.
    pub fn loop_waits(&self) -> bool {
        self.some_thread_is_in(WAITING)
    }

    pub fn uses_select(&self) -> bool {
        self.some_thread_is_in(SELECTS)
    }
}

pub fn waits(thread: &Thread) -> bool {
    thread
        .syscall
        .as_deref()
        .is_some_and(|name| WAITING.contains(&name))
}

/// Event bits of `include/uapi/linux/eventpoll.h`.
pub mod epoll {
    /// EPOLLIN, EPOLLRDNORM, EPOLLRDHUP: what the arrival of a FIN raises (`net/ipv4/tcp.c:tcp_poll`).
    pub const TELLS_OF_FIN: u32 = 0x1 | 0x40 | 0x2000;
    pub const ONE_SHOT: u32 = 1 << 30;
    pub const EDGE: u32 = 1 << 31;
    /// All that is left of a one-shot registration that has fired (`fs/eventpoll.c:EP_PRIVATE_BITS`).
    pub const PRIVATE: u32 = 1 << 28 | 1 << 29 | ONE_SHOT | EDGE;
}
