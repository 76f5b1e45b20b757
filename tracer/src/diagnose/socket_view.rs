//! A socket with everything the rules ask about it.

use smallvec::SmallVec;
use tracer_common::state::{CLOSE, CLOSE_WAIT};

use super::{
    Blamer,
    context::ReportContext,
    pool::{self, Pool},
    serving_thread::epoll::{EDGE, ONE_SHOT, TELLS_OF_FIN},
};
use crate::{
    model::{
        input::{Process, Thread},
        report::{Direction, HookStatus},
        socket::{LastOperation, SocketOperation},
        stack::{Frame, Stack},
    },
    track::{Listener, Shown, Socket, Tracker},
};

/// The thread that polls for the virtual threads of a Java virtual machine (`sun.nio.ch.Poller`, JDK 21).
const VIRTUAL_THREADS: &str = "Read-Poller";

pub struct SocketView<'a> {
    pub socket: &'a Socket,
    pub tracker: &'a Tracker,
    pub now: u64,
    pub min_age: u64,
    pub blamer: Blamer<'a>,
    pub context: &'a ReportContext<'a>,
    holder_pids: Pids,
}

type Pids = SmallVec<[u32; 2]>;

impl<'a> SocketView<'a> {
    pub fn new(
        socket: &'a Socket,
        tracker: &'a Tracker,
        context: &'a ReportContext<'a>,
        min_age: u64,
        blamer: Blamer<'a>,
    ) -> Self {
        let mut view = Self {
            socket,
            tracker,
            now: tracker.now(),
            min_age,
            blamer,
            context,
            holder_pids: Pids::new(),
        };
        view.holder_pids = view.find_holder_pids();
        view
    }

    pub fn age(&self) -> u64 {
        self.socket.age(self.now)
    }

    /// In its state for the threshold, not owned by the kernel, and not in use: a connection may be
    /// half closed for as long as this side still sends.
    pub fn is_stuck(&self) -> bool {
        // Who noted the end has looked at the rest.
        self.has_ended()
            || self.socket.shown != Shown::Never
                && self.socket.is_stuck_state()
                && self.age() >= self.min_age
                && !self.is_kernels()
                && !self.still_sends()
    }

    /// Only the exit of its process has closed it.
    pub fn has_ended(&self) -> bool {
        self.socket.ended_at.is_some()
    }

    pub fn in_close_wait(&self) -> bool {
        self.socket.state == CLOSE_WAIT
    }

    pub fn is_hidden(&self) -> bool {
        self.socket.state == CLOSE
    }

    /// Sockets the kernel made for itself (NFS, SMC) have a `struct socket` and no file.
    fn is_kernels(&self) -> bool {
        self.socket.has_socket && self.socket.inode == 0
    }

    fn still_sends(&self) -> bool {
        self.in_close_wait()
            && self.socket.history.used.is_some_and(|used| {
                used.kind == SocketOperation::Send
                    && used.at > self.socket.since
                    && self.now.saturating_sub(used.at) < self.min_age
            })
    }

    /// Nobody has accepted it: `sk_socket` is set by `accept()` (`net/core/sock.h:sock_graft`).
    pub fn is_unaccepted(&self) -> bool {
        self.in_close_wait() && !self.socket.has_socket && self.socket.inode == 0
    }

    /// The whole life of the socket was seen, so an absent operation means an absent call.
    pub fn whole_life_seen(&self) -> bool {
        self.socket.history.opened.is_some()
    }

    /// Reads are observed, so that none seen means none made (but for `splice()`, which no hook sees).
    pub fn sees_reads(&self) -> bool {
        self.observes(&["sock_recv_length", "tcp_recvmsg"])
    }

    /// No holder is hidden in another pid namespace.
    pub fn all_holders_seen(&self) -> bool {
        self.tracker
            .run_header()
            .is_some_and(|run_header| !run_header.some_processes_unseen)
    }

    /// Everything is read, the FIN included, yet no read returned 0: a read got data and the FIN in one go
    /// (`net/ipv4/tcp.c:tcp_recvmsg_locked`), and nobody was told of the end. Such a read comes after the
    /// FIN; otherwise the FIN was taken by something no hook sees.
    pub fn fin_came_with_data(&self) -> bool {
        let history = self.socket.history;
        self.socket.recv_q == 0
            && history.eof.is_none()
            && self.sees_reads()
            && history
                .used
                .is_some_and(|used| used.at >= self.socket.since)
    }

    /// A relay has told the other side of the end, and waits for that side to end as well.
    pub fn was_passed_on(&self) -> bool {
        let partner = self.context.partner_of(self.socket.cookie);
        partner.is_some_and(|partner| !partner.is_open())
    }

    pub fn sees_writes(&self) -> bool {
        self.observes(&["sock_send_length"])
    }

    fn observes(&self, any_of: &[&str]) -> bool {
        self.tracker.run_header().is_some_and(|run_header| {
            run_header.hooks.iter().any(|hook| {
                hook.status != HookStatus::Unavailable && any_of.contains(&hook.name.as_str())
            })
        })
    }

    /// Nothing the kernel program had to say was lost on its way.
    pub fn nothing_lost(&self) -> bool {
        self.tracker.counters().all_lost() == 0
    }

    pub fn listener(&self) -> Option<&'a Listener> {
        self.tracker.listener_of(self.socket)
    }

    /// Seen at `accept()` or `connect()`; else a listener on the local port proves an accepted one.
    pub fn direction(&self) -> Option<Direction> {
        if self.is_unaccepted() {
            return Some(Direction::Unaccepted);
        }
        match self.socket.history.opened.map(|opened| opened.kind) {
            Some(SocketOperation::Accept) => Some(Direction::Accepted),
            Some(SocketOperation::Connect) => Some(Direction::Connected),
            _ => self.listener().map(|_| Direction::Accepted),
        }
    }

    /// Pids that hold a descriptor, or that could accept it.
    pub fn holder_pids(&self) -> &[u32] {
        &self.holder_pids
    }

    fn find_holder_pids(&self) -> Pids {
        let holders = if self.is_unaccepted() {
            self.listener()
                .map(|listener| listener.holders.as_slice())
                .unwrap_or_default()
        } else {
            &self.socket.holders
        };
        let mut pids: Pids = holders.iter().map(|holder| holder.pid).collect();
        if pids.is_empty() {
            pids.extend(self.socket.ended_by);
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    pub fn holds(&self, pid: u32) -> bool {
        self.socket.holders.iter().any(|holder| holder.pid == pid)
    }

    /// The last thing anyone did to it.
    pub fn last_operation(&self) -> Option<LastOperation> {
        let history = self.socket.history;
        [history.eof, history.used, history.opened]
            .into_iter()
            .flatten()
            .max_by_key(|operation| operation.at)
    }

    pub fn process(&self) -> Option<&'a Process> {
        self.holder_pids()
            .first()
            .and_then(|pid| self.tracker.process(*pid))
    }

    pub fn stack(&self, operation: Option<LastOperation>) -> Option<&'a Stack> {
        self.tracker.stack(operation?.stack)
    }

    pub fn blamed(&self, stack: &'a Stack) -> Option<&'a Frame> {
        stack.frames.get((self.blamer)(&stack.frames)?)
    }

    /// The epoll events asked for on any of its descriptors.
    pub fn epoll_events(&self) -> Option<u32> {
        self.socket.holders.iter().find_map(|holder| {
            let interests = self.tracker.epoll(holder.pid)?;
            let place = interests.partition_point(|interest| interest.fd < holder.fd);
            let found = interests.get(place)?;
            (found.fd == holder.fd).then_some(found.events)
        })
    }

    /// An epoll set watches it, and somebody may still act on what that tells.
    pub fn is_watched(&self) -> bool {
        self.epoll_events().is_some() && !self.was_told_once()
    }

    /// Its edge-triggered registration has told of the hang-up, which it does once, and the loop has gone
    /// back to waiting.
    pub fn was_told_once(&self) -> bool {
        let edge =
            |events| events & EDGE != 0 && events & ONE_SHOT == 0 && events & TELLS_OF_FIN != 0;
        self.epoll_events().is_some_and(edge) && (self.loop_waits() || self.runs_tasks())
    }

    /// The program's own threads of control are goroutines, async tasks or virtual threads. Their runtime
    /// watches every connection for them, and the kernel does not see what each of them waits for.
    pub fn runs_tasks(&self) -> bool {
        let history = self.socket.history;
        let operations = [history.opened, history.used, history.eof];
        let mut stacks = operations
            .into_iter()
            .filter_map(|operation| self.stack(operation));
        let polls = |thread: &Thread| thread.comm.starts_with(VIRTUAL_THREADS);
        stacks.any(|stack| stack.frames.iter().any(Frame::is_of_tasks))
            || self
                .holder_pids()
                .iter()
                .any(|pid| self.tracker.threads(*pid).iter().any(polls))
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

    /// Were all threads of all owners looked at?
    pub fn threads_known(&self) -> bool {
        self.holder_pids().iter().all(|pid| {
            let seen = self.tracker.threads(*pid).len();
            seen > 0
                && self
                    .tracker
                    .process(*pid)
                    .is_some_and(|process| seen >= process.threads as usize)
        })
    }

    /// Threads of the holders that are blocked in a write: workers that may starve the rest.
    pub fn threads_blocked_writing(&self) -> usize {
        self.holder_pids()
            .iter()
            .flat_map(|pid| self.tracker.threads(*pid))
            .filter(|thread| pool::writes(thread))
            .count()
    }

    /// The pool of one of its holders that has no thread left to serve anything.
    pub fn starving_pool(&self) -> Option<(u32, &'a Pool<'a>)> {
        let pool = |pid: &u32| Some((*pid, self.context.pool_of(*pid)?));
        self.holder_pids().iter().find_map(pool)
    }

    /// The thread that should accept it: one that accepted before, or the only one there is.
    pub fn acceptor(&self) -> Option<&'a Thread> {
        let threads = self.tracker.threads(*self.holder_pids().first()?);
        let accepted = |thread: &&Thread| self.context.has_accepted(thread.tid);
        threads.iter().find(accepted).or(match threads {
            [only] => Some(only),
            _ => None,
        })
    }
}
