//! What can be asked of the tracker.

use std::{cmp::Reverse, net::SocketAddr, sync::Arc};

use jiff::Timestamp;

use super::{Drift, Fate, Listener, Noted, Socket, Tracker};
use crate::model::{
    input::{
        Activity, AsyncTask, CloseCount, Connection, Counters, EpollChange, Evidence, Interest,
        LoopsWatched, Process, Relief, RunHeader, Thread,
    },
    listeners::Heard,
    socket::LastOperation,
    stack::Stack,
};

impl Tracker {
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn run_header(&self) -> Option<&RunHeader> {
        self.run_header.as_deref()
    }

    /// `None` before the first input.
    pub fn wall(&self, at: u64) -> Option<Timestamp> {
        self.anchors.wall(at)
    }

    /// By the clock of events, of what was read from the wall clock; may be before that clock began.
    pub fn at_wall(&self, wall: Timestamp) -> Option<i64> {
        self.anchors.at(wall)
    }

    pub fn knows(&self, cookie: u64) -> bool {
        self.sockets
            .get(&cookie)
            .is_some_and(|socket| !socket.since_is_lower_bound)
    }

    /// In the order of their cookies, so that output never depends on hashing.
    pub fn sockets(&self) -> impl Iterator<Item = &Socket> + Clone {
        self.sockets.values().map(Box::as_ref)
    }

    /// Stuck sockets that only the exit of their process has closed.
    pub fn ended(&self) -> impl Iterator<Item = &Socket> {
        self.ended.values().map(Box::as_ref)
    }

    /// Sockets that were stuck for the threshold and ended between the last two reports, as they were.
    pub fn passed(&self) -> impl Iterator<Item = &Socket> {
        self.passed.due().iter()
    }

    /// How a followed socket was opened.
    pub fn opened(&self, cookie: u64) -> Option<LastOperation> {
        self.sockets.get(&cookie)?.history.opened
    }

    /// When it got into the state that it is in, nanoseconds of the events' clock.
    pub fn since(&self, cookie: u64) -> Option<u64> {
        Some(self.sockets.get(&cookie)?.since)
    }

    /// The program has been told that the peer has closed.
    pub fn has_read_end(&self, cookie: u64) -> bool {
        let socket = self.sockets.get(&cookie);
        socket.is_some_and(|socket| socket.history.eof.is_some())
    }

    pub fn count(&self) -> usize {
        self.sockets.len()
    }

    /// Sockets whose state is at least `age` old; cheap enough for every tick.
    pub fn older_than(&self, age: u64) -> usize {
        self.sockets
            .values()
            .filter(|socket| socket.age(self.now) >= age)
            .count()
    }

    /// Sockets that may have been in their state for `age`, or for less.
    pub fn undecided(&self, age: u64) -> usize {
        let at_most = |socket: &Socket| socket.age_at_most(self.now).is_some_and(|at| at >= age);
        let sockets = self.sockets.values();
        sockets
            .filter(|socket| {
                socket.is_stuck_state() && socket.age(self.now) < age && at_most(socket)
            })
            .count()
    }

    /// The listener a connection came in through: the same namespace and port, the most specific
    /// address first; of those that share one (`SO_REUSEPORT`) where most wait.
    pub fn listener_of(&self, socket: &Socket) -> Option<&Listener> {
        let local = socket.endpoints().local;
        let fits = |listener: &&Listener| {
            listener.netns == socket.netns
                && listener.endpoints.local.port() == local.port()
                && (listener.endpoints.local.ip().to_canonical() == local.ip().to_canonical()
                    || listener.endpoints.local.ip().is_unspecified())
        };
        self.listeners.iter().filter(fits).min_by_key(|listener| {
            let is_general = listener.endpoints.local.ip().is_unspecified();
            (is_general, Reverse(listener.waiting))
        })
    }

    /// All named stacks, in the order of their keys.
    pub fn stacks(&self) -> impl Iterator<Item = &Stack> {
        self.stacks.all()
    }

    /// Whatever listens on this host.
    pub fn listening(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    /// Does anybody listen there, in any namespace?
    pub fn listens_on(&self, local: SocketAddr) -> bool {
        self.listeners.iter().any(|listener| {
            let ip = listener.endpoints.local.ip();
            listener.endpoints.local.port() == local.port()
                && (ip.is_unspecified() || ip.to_canonical() == local.ip().to_canonical())
        })
    }

    /// When the iterators last began to look for holders.
    pub fn inventory_from(&self) -> u64 {
        self.inventory_from
    }

    pub fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.process(pid).map(Arc::as_ref)
    }

    /// Who had the pid at this moment, as far as that is known.
    pub fn process_then(&self, pid: u32, at: u64) -> Option<&Process> {
        self.processes.process_then(pid, at).map(Arc::as_ref)
    }

    /// Whether the process has executed another program since.
    pub fn has_executed_since(&self, pid: u32, at: u64) -> bool {
        self.processes.has_executed_since(pid, at)
    }

    /// Processes whose threads were looked at for this report.
    pub fn threaded(&self) -> impl Iterator<Item = u32> {
        self.processes.threaded(self.inventory_from)
    }

    /// As they were looked at for this report; none when they were not.
    pub fn threads(&self, pid: u32) -> &[Thread] {
        self.processes.threads(pid, self.inventory_from)
    }

    /// The process is a Go program whose goroutines were looked at for this report; whether all.
    pub fn goroutines(&self, pid: u32) -> Option<bool> {
        self.processes.goroutines(pid, self.inventory_from)
    }

    /// Who listens to a socket of a program for Node.js, as it was looked at for this report.
    pub fn listeners(&self, pid: u32, inode: u64) -> Option<&Heard> {
        self.processes.listeners(pid, inode, self.inventory_from)
    }

    /// The process's suspended tasks, as they were looked at for this report.
    pub fn tasks(&self, pid: u32) -> &[AsyncTask] {
        self.processes.tasks(pid, self.inventory_from)
    }

    /// The first of the looks at which this thread ran, if it ran at all of them since, without a pause.
    pub fn running_since(&self, tid: u32) -> Option<u64> {
        self.processes.running_since(tid, self.inventory_from)
    }

    pub fn stack(&self, key: u64) -> Option<&Stack> {
        self.stacks.get(key)
    }

    /// How sockets were closed, by the places where they were opened and closed.
    pub fn close_counts(&self) -> &[CloseCount] {
        &self.close_counts
    }

    /// What the process's epoll sets watch, by descriptor; `None` when it was not looked at for this report.
    pub fn epoll(&self, pid: u32) -> Option<&[Interest]> {
        self.processes.epoll(pid, self.inventory_from)
    }

    /// What the epoll sets of all processes watch that were looked at for this report.
    pub fn interests(&self) -> impl Iterator<Item = (u32, Interest)> {
        self.processes.interests(self.inventory_from)
    }

    /// The last time that it was seen what the event loops of the process do with their sockets.
    pub fn loops_watched(&self, pid: u32) -> Option<LoopsWatched> {
        self.processes.loops_watched(pid)
    }

    /// The changes to epoll sets that were seen of a socket, oldest first.
    pub fn epoll_changes(&self, cookie: u64) -> &[EpollChange] {
        self.epoll_changes.of(cookie)
    }

    /// The same of all sockets.
    pub fn all_epoll_changes(&self) -> impl Iterator<Item = &[EpollChange]> {
        self.epoll_changes.all()
    }

    /// Live sockets, stuck or not, that the asked-for processes have touched.
    pub fn activity(&self) -> &[Activity] {
        let (at, activity) = &self.activity;
        if *at >= self.inventory_from {
            activity
        } else {
            &[]
        }
    }

    /// Open connections of theirs.
    pub fn connections(&self) -> &[Connection] {
        let (at, connections) = &self.connections;
        if *at >= self.inventory_from {
            connections
        } else {
            &[]
        }
    }

    /// How connections could be ended from outside.
    pub fn relief(&self) -> Option<&Relief> {
        self.relief.as_ref()
    }

    /// The processes a pid filter covers now, children included.
    pub fn followed(&self) -> &[u32] {
        &self.followed
    }

    /// `None` where everybody's operations are seen.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// The moment from which on all that the process did to its sockets was seen, if it is seen.
    pub fn seen_from(&self, pid: u32) -> Option<u64> {
        match &self.evidence {
            None => Some(0),
            Some(evidence) => evidence.processes.get(&pid).copied(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Reports of sockets that were read from the kernel's table rather than sent: none can be lost.
    pub fn candidate(&self) -> u64 {
        self.candidate
    }

    pub fn drift(&self) -> Drift {
        self.drift
    }

    /// What was warned of, for the report.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.texts()
    }

    /// The same with code and subject, how often and when.
    pub fn noted_warnings(&self) -> impl Iterator<Item = (&str, Option<&str>, &Noted)> {
        self.warnings.iter()
    }

    /// Sockets in `CLOSE_WAIT` at the last inventory, of any age and owner.
    pub fn close_wait(&self) -> u64 {
        self.close_wait
    }

    /// What became of a socket that was followed.
    pub fn fate(&self, cookie: u64) -> Fate {
        if let Some(end) = self.ends.of(cookie) {
            Fate::Ended(end)
        } else if self.sockets.contains_key(&cookie) {
            Fate::Lives
        } else if self.missing.contains_key(&cookie) {
            Fate::Awaited
        } else {
            Fate::Gone
        }
    }

    /// Sockets that could not be followed because a bound was reached.
    pub fn unfollowed(&self) -> u64 {
        self.unfollowed
    }

    /// Histories, stacks, processes and changes of epoll sets for which there was no room.
    pub fn refused(&self) -> u64 {
        self.histories_refused
            + self.stacks.refused
            + self.processes.refused
            + self.epoll_changes.refused
    }

    /// Nothing that the kernel program had to say was lost on its way at or after this moment.
    pub fn nothing_lost_since(&self, at: u64) -> bool {
        self.losses.none_since(at)
    }

    /// Nothing was lost since the last complete inventory, and there was one; all that is in it is followed.
    pub fn is_complete(&self) -> bool {
        self.inventories > 0 && self.losses.is_repaired() && self.still_unfollowed == 0
    }
}
