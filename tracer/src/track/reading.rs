//! What can be asked of the tracker.

use std::net::SocketAddr;

use super::{Drift, Listener, Socket, Tracker};
use crate::model::{
    input::{
        Activity, CloseCount, Connection, Counters, EpollChange, Interest, Process, RunHeader,
        Samples, Thread,
    },
    stack::Stack,
};

impl Tracker {
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn run_header(&self) -> Option<&RunHeader> {
        self.run_header.as_deref()
    }

    pub fn knows(&self, cookie: u64) -> bool {
        self.sockets
            .get(&cookie)
            .is_some_and(|socket| !socket.since_is_lower_bound)
    }

    /// In the order of their cookies, so that output never depends on hashing.
    pub fn sockets(&self) -> Vec<&Socket> {
        self.sockets.values().map(Box::as_ref).collect()
    }

    /// Stuck sockets that only the exit of their process has closed.
    pub fn ended(&self) -> impl Iterator<Item = &Socket> {
        self.ended.values().map(Box::as_ref)
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

    /// The listener a connection came in through: the same namespace and port, the most specific
    /// address first.
    pub fn listener_of(&self, socket: &Socket) -> Option<&Listener> {
        let local = socket.endpoints.local;
        let fits = |listener: &&Listener| {
            listener.netns == socket.netns
                && listener.endpoints.local.port() == local.port()
                && (listener.endpoints.local.ip().to_canonical() == local.ip().to_canonical()
                    || listener.endpoints.local.ip().is_unspecified())
        };
        self.listeners
            .iter()
            .filter(fits)
            .min_by_key(|listener| listener.endpoints.local.ip().is_unspecified())
    }

    /// All named stacks, in the order of their keys.
    pub fn stacks(&self) -> impl Iterator<Item = &Stack> {
        self.stacks.values()
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
        self.processes.get(&pid)
    }

    /// Processes whose threads were looked at.
    pub fn threaded(&self) -> impl Iterator<Item = u32> {
        self.threads.keys().copied()
    }

    pub fn threads(&self, pid: u32) -> &[Thread] {
        self.threads.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// The first of the looks at which this thread ran, if it ran at all of them since.
    pub fn running_since(&self, tid: u32) -> Option<u64> {
        self.running.get(&tid).copied()
    }

    pub fn stack(&self, key: u64) -> Option<&Stack> {
        self.stacks.get(&key)
    }

    /// How sockets were closed, by the places where they were opened and closed.
    pub fn close_counts(&self) -> &[CloseCount] {
        &self.close_counts
    }

    /// What the process's epoll sets watch, by descriptor; `None` when it was not looked at.
    pub fn epoll(&self, pid: u32) -> Option<&[Interest]> {
        self.epolls.get(&pid).map(Vec::as_slice)
    }

    /// What the epoll sets of all processes that were looked at watch.
    pub fn interests(&self) -> impl Iterator<Item = (u32, Interest)> {
        let all = self.epolls.iter();
        all.flat_map(|(pid, interests)| interests.iter().map(|interest| (*pid, *interest)))
    }

    /// What running threads of the process executed when they were last sampled.
    pub fn samples(&self, pid: u32) -> Option<&Samples> {
        self.samples.get(&pid)
    }

    /// The changes to epoll sets that were seen of a socket, oldest first.
    pub fn epoll_changes(&self, cookie: u64) -> &[EpollChange] {
        self.epoll_changes.get(&cookie).map_or(&[], Vec::as_slice)
    }

    /// The same of all sockets.
    pub fn all_epoll_changes(&self) -> impl Iterator<Item = &[EpollChange]> {
        self.epoll_changes.values().map(Vec::as_slice)
    }

    /// Live sockets, stuck or not, that the asked-for processes have touched.
    pub fn activity(&self) -> &[Activity] {
        &self.activity
    }

    /// Open connections of theirs.
    pub fn connections(&self) -> &[Connection] {
        &self.connections
    }

    /// The processes a pid filter covers now, children included.
    pub fn followed(&self) -> &[u32] {
        &self.followed
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

    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sockets in `CLOSE_WAIT` at the last inventory, of any age and owner.
    pub fn close_wait(&self) -> u64 {
        self.close_wait
    }

    /// Sockets that could not be followed because a bound was reached.
    pub fn unfollowed(&self) -> u64 {
        self.unfollowed
    }

    /// Nothing was lost since the last complete inventory, and there was one.
    pub fn is_complete(&self) -> bool {
        self.inventories > 0
            && self.counters.all_lost() <= self.repaired_loss
            && self.unfollowed == 0
    }
}
