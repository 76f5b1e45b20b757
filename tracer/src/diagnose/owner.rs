//! The thread that serves a socket: what it does now, and whether that is still about this socket.

use super::{Case, pool};
use crate::model::{input::Thread, socket::Touch, stack::Frame};

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
pub struct Owner<'a> {
    pub thread: &'a Thread,
    pub pid: u32,
    /// On the CPU at every look since then; else it is blocked.
    pub runs_since: Option<u64>,
}

impl<'a> Case<'a> {
    /// The thread that made this touch, if it is still inside the function that made it and is not
    /// merely waiting for the next piece of work: then the socket is not forgotten but its owner is
    /// busy or blocked.
    pub fn still_at_it(&self, touch: Option<Touch>) -> Option<&'a Thread> {
        let touch = touch?;
        let thread = self.thread_of(touch).filter(|thread| !waits(thread))?;
        let then = self.stack(Some(touch))?;
        let blamed = self.blamed(then)?;
        let same = |frame: &Frame| blamed.function.is_some() && frame.is_same_code(blamed);
        thread.stack.iter().any(same).then_some(thread)
    }

    /// The thread that should go on with this socket and cannot: the one that touched it last, and touched
    /// no other living socket since, blocked inside the same function or on the CPU all the time; or, for
    /// a socket in an epoll set, the loop's thread blocked in something else.
    pub fn owner(&self) -> Option<Owner<'a>> {
        let touch = self.last_touch()?;
        let thread = self.thread_of(touch)?;
        let goes_on = self.went_on(touch);
        let owner = |runs_since| Owner {
            thread,
            pid: touch.pid,
            runs_since,
        };
        let runs = self.tracker.running_since(touch.tid);
        if let Some(since) = runs.filter(|since| self.now.saturating_sub(*since) >= RUNS_LONG) {
            return (!goes_on).then(|| owner(Some(since)));
        }
        if !goes_on && self.still_at_it(Some(touch)).is_some() {
            return Some(owner(None));
        }
        let blocked = thread.syscall.is_some() && !waits(thread);
        // What it did then has no names, what it does now has.
        let dumped = || thread.stack.iter().any(pool::is_dumped);
        let busy = || pool::is_busy(self.tracker, self.scene, self.blamer, thread);
        if !goes_on && blocked && self.is_nameless(touch) && dumped() && busy() {
            return Some(owner(None));
        }
        let alone = !self.some_thread_is_in(LOOPS);
        (self.epoll_would_tell() && blocked && alone).then(|| owner(None))
    }

    /// Nothing tells whether the thread that made this touch has moved on: it lives, is blocked, has touched
    /// nothing since, and what it did then has no names to compare.
    pub fn may_be_at_it(&self, touch: Option<Touch>) -> bool {
        touch.is_some_and(|touch| {
            let thread = self.thread_of(touch);
            let blocked = thread.is_some_and(|thread| thread.syscall.is_some() && !waits(thread));
            blocked && self.is_nameless(touch) && !self.went_on(touch)
        })
    }

    /// The touch that proves the owner has no named place in the program.
    pub fn is_nameless(&self, touch: Touch) -> bool {
        let blamed = self.stack(Some(touch)).and_then(|stack| self.blamed(stack));
        blamed.is_none_or(|frame| frame.function.is_none())
    }

    /// Has the thread that made this touch turned to another connection? One that it opened itself may be
    /// in the service of an accepted one.
    fn went_on(&self, touch: Touch) -> bool {
        let newest = self.scene.newest_of(touch.tid);
        newest.is_some_and(|(cookie, _)| {
            let asks =
                self.scene.is_connected(cookie) && !self.scene.is_connected(self.socket.cookie);
            cookie != self.socket.cookie && !asks
        })
    }

    /// The owner was seen on the CPU, but not for long enough to say that it does nothing else.
    pub fn owner_may_be_busy(&self) -> Option<u64> {
        let touch = self.last_touch()?;
        let since = self.tracker.running_since(touch.tid)?;
        if self.went_on(touch) {
            return None;
        }
        (self.now.saturating_sub(since) < RUNS_LONG).then_some(since + RUNS_LONG)
    }

    fn thread_of(&self, touch: Touch) -> Option<&'a Thread> {
        let threads = self.tracker.threads(touch.pid);
        threads.iter().find(|thread| thread.tid == touch.tid)
    }

    /// An epoll set watches it and will report readable data again and again until it is read.
    fn epoll_would_tell(&self) -> bool {
        self.epoll_events().is_some_and(|events| {
            events & epoll::TELLS_OF_FIN != 0 && events & (epoll::EDGE | epoll::ONE_SHOT) == 0
        })
    }

    fn some_thread_is_in(&self, calls: &[&str]) -> bool {
        self.owners().iter().any(|pid| {
            self.tracker.threads(*pid).iter().any(|thread| {
                thread
                    .syscall
                    .as_deref()
                    .is_some_and(|name| calls.contains(&name))
            })
        })
    }

    /// A thread of the owners waits in its event loop.
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
