//! What a thread waits for, with the other end looked up: a server that was asked, a client, a lock, new work.

use std::borrow::Cow;

use foldhash::{HashMap, HashSet};

use tracer_common::state::{CLOSE_WAIT, ESTABLISHED, SYN_SENT};

use super::Blamer;
use super::computing::{self, Computes};
use super::decoded::decoded;
use super::locks::is_for_lock;
use super::threads::Threads;
use super::virtual_threads;
use crate::{
    model::{
        actor::Actor,
        input::{Connection, Thread},
        quantity::span,
        socket::SocketOperation,
        wait::{FileKind, Polled, Target, Wait},
    },
    track::Tracker,
};

#[derive(Default)]
pub struct Waits<'a> {
    by_inode: HashMap<u64, &'a Connection>,
    by_cookie: HashMap<u64, &'a Connection>,
    /// Cookies of those that their process opened.
    upstreams: HashSet<u64>,
    opened: HashMap<u64, u64>,
    computing: HashMap<Actor, Computes>,
    /// Listening sockets, by thread and descriptor.
    listening: HashSet<(u32, i32)>,
    /// The only server that each virtual thread has asked, as far as is known.
    asked: HashMap<Actor, u64>,
}

/// The other end of what a thread waits for.
#[derive(Clone, Copy, Debug)]
pub enum WaitsFor<'a> {
    /// The answer, or the acceptance, of a server that the process asked.
    Upstream(&'a Connection),
    /// That a client sends something.
    ClientSends(&'a Connection),
    /// That whoever is at the other end takes what is written.
    PeerReads(&'a Connection),
    Lock(Option<u32>),
    /// That whoever reads at the other end of this descriptor, which is no TCP connection, takes what is written: a
    /// full pipe, most often.
    Reader(i32),
    /// A lock, a condition, a semaphore: the kernel cannot tell.
    Futex,
    /// Another goroutine to take what this one sends to a channel.
    Taker,
    /// Something to come from a channel.
    FromChannel,
    /// Any of several channels.
    Channels,
    Condition,
    /// Other goroutines to be done.
    Group,
    /// Whatever completes what a task awaits.
    Task,
    Time,
    Disk,
    Child,
    /// Connections to accept.
    NewConnections,
    /// An event loop: the members of this epoll set.
    Set(u32),
    /// Any of several descriptors, or of some that could not be read.
    Several,
    /// A pipe or an event descriptor: whatever another thread sends through it.
    Message,
    Cpu,
    Stopped,
    /// In the kernel for a reason that is not decoded.
    Other,
    Unknown,
}

impl<'a> Waits<'a> {
    pub fn new(tracker: &'a Tracker, threads: &Threads<'a>, blamer: Blamer<'_>) -> Self {
        let mut waits = Self {
            computing: computing::find(tracker, blamer),
            ..Self::default()
        };
        for connection in tracker.connections() {
            waits.by_inode.insert(connection.inode, connection);
            waits.by_cookie.insert(connection.cookie, connection);
            let opened = threads.history(connection.cookie);
            let opened = opened.and_then(|history| history.opened);
            let is_upstream = match opened {
                Some(opened) => opened.kind == SocketOperation::Connect,
                None => !tracker.listens_on(connection.endpoints.local),
            };
            if is_upstream {
                waits.upstreams.insert(connection.cookie);
            }
            if let Some(opened) = opened {
                waits.opened.insert(connection.cookie, opened.at);
            }
        }
        for holder in tracker.listening().flat_map(|one| &one.holders) {
            let threads = tracker.threads(holder.pid).iter();
            let fd = i32::try_from(holder.fd).ok();
            let of_each = fd.map(|fd| threads.map(move |thread| (thread.tid, fd)));
            waits.listening.extend(of_each.into_iter().flatten());
        }
        waits.asked = virtual_threads::asked(threads, &waits.upstreams);
        waits
    }

    /// Some process has opened a connection that is open.
    pub fn has_upstreams(&self) -> bool {
        !self.upstreams.is_empty()
    }

    pub fn of(&self, thread: &Thread) -> WaitsFor<'a> {
        match &*decoded(thread) {
            Wait::Running => WaitsFor::Cpu,
            Wait::Receive(target) | Wait::Connect(target) => {
                match self.asked.get(&thread.actor()) {
                    Some(only) if target.file == FileKind::Unknown => self
                        .by_cookie
                        .get(only)
                        .map_or(WaitsFor::Other, |connection| WaitsFor::Upstream(connection)),
                    _ => self.input(thread, *target),
                }
            }
            Wait::Send(target) => self
                .connection(thread, *target)
                .map_or(WaitsFor::Reader(target.fd), WaitsFor::PeerReads),
            Wait::Poll(polled) => self.polled(thread, polled),
            Wait::Epoll { set } => WaitsFor::Set(*set),
            Wait::Accept(_) => WaitsFor::NewConnections,
            Wait::Lock { owner, .. } => WaitsFor::Lock(*owner),
            Wait::Futex { .. } if is_for_lock(&thread.stack) => WaitsFor::Lock(None),
            Wait::Futex { .. } => WaitsFor::Futex,
            Wait::Channel { sends: true } => WaitsFor::Taker,
            Wait::Channel { sends: false } => WaitsFor::FromChannel,
            Wait::Select => WaitsFor::Channels,
            Wait::Condition => WaitsFor::Condition,
            Wait::Group => WaitsFor::Group,
            Wait::Task => WaitsFor::Task,
            Wait::Sleep => WaitsFor::Time,
            Wait::Disk => WaitsFor::Disk,
            Wait::Child => WaitsFor::Child,
            Wait::Stopped => WaitsFor::Stopped,
            Wait::Signal | Wait::IoUring | Wait::Other => WaitsFor::Other,
            Wait::Unknown => WaitsFor::Unknown,
        }
    }

    fn input(&self, thread: &Thread, target: Target) -> WaitsFor<'a> {
        match target.file {
            FileKind::Pipe | FileKind::EventFd => return WaitsFor::Message,
            FileKind::TimerFd => return WaitsFor::Time,
            _ => {}
        }
        match self.connection(thread, target) {
            Some(connection) if self.upstreams.contains(&connection.cookie) => {
                WaitsFor::Upstream(connection)
            }
            Some(connection) => WaitsFor::ClientSends(connection),
            None if self.listening.contains(&(thread.tid, target.fd)) => WaitsFor::NewConnections,
            None => WaitsFor::Other,
        }
    }

    /// One descriptor with something else to wake the thread up, as most runtimes have, is still waited for; which
    /// of several connections matters is not known.
    fn polled(&self, thread: &Thread, polled: &Polled) -> WaitsFor<'a> {
        if !polled.complete {
            return WaitsFor::Several;
        }
        let is_socket = |target: &Target| target.file.socket().is_some();
        let mut sockets = polled.members.iter().map(|member| member.target);
        match (polled.members.as_slice(), sockets.find(is_socket)) {
            ([], _) if polled.times_out => WaitsFor::Time,
            ([only], _) if only.output && !only.input => self
                .connection(thread, only.target)
                .map_or(WaitsFor::Reader(only.target.fd), |connection| {
                    if connection.state == SYN_SENT {
                        WaitsFor::Upstream(connection)
                    } else {
                        WaitsFor::PeerReads(connection)
                    }
                }),
            ([only], _) => self.input(thread, only.target),
            (_, Some(socket)) if sockets.all(|target| !is_socket(&target)) => {
                self.input(thread, socket)
            }
            _ => WaitsFor::Several,
        }
    }

    /// The connection behind a descriptor, unless the number was given to it after the wait began.
    fn connection(&self, thread: &Thread, target: Target) -> Option<&'a Connection> {
        let connection = self.by_inode.get(&target.file.socket()?)?;
        let opened = self.opened.get(&connection.cookie).copied();
        let before = opened
            .zip(thread.since)
            .is_none_or(|(at, since)| at <= since);
        before.then_some(*connection)
    }

    /// It runs, and samples tell in which function of the program.
    pub fn computes(&self, thread: &Thread) -> Option<&Computes> {
        self.computing.get(&thread.actor())
    }

    /// Follows the name of a thread: `waits for …`, `computes in …`.
    pub fn doing(&self, thread: &Thread) -> Cow<'static, str> {
        match (self.computes(thread), self.of(thread)) {
            (Some(computes), _) => computes.to_string().into(),
            (None, WaitsFor::Cpu) => "was on the CPU when looked at".into(),
            (None, waits) => format!("waits for {}", waits.words()).into(),
        }
    }

    pub fn connection_of(&self, cookie: u64) -> Option<&'a Connection> {
        self.by_cookie.get(&cookie).copied()
    }

    /// Connections that the process opened, among those that the thread waits for.
    pub fn upstreams_of(&self, thread: &Thread) -> impl Iterator<Item = &'a Connection> {
        let sockets = thread.wait.sockets();
        let known = sockets.filter_map(|inode| self.by_inode.get(&inode).copied());
        known.filter(|connection| self.is_upstream(connection.cookie))
    }

    /// A connection that its process accepted.
    pub fn is_client(&self, inode: u64) -> bool {
        let connection = self.by_inode.get(&inode);
        connection.is_some_and(|connection| !self.upstreams.contains(&connection.cookie))
    }

    pub fn is_upstream(&self, cookie: u64) -> bool {
        self.upstreams.contains(&cookie)
    }
}

/// A server was asked and nothing of an answer lies in the queue: whoever asked can only wait.
pub fn is_silent(connection: &Connection) -> bool {
    connection.recv_q == 0 && matches!(connection.state, ESTABLISHED | SYN_SENT)
}

impl WaitsFor<'_> {
    /// It can bring work for other connections: who sits in it may be idle.
    pub fn may_bring_work(self) -> bool {
        matches!(
            self,
            Self::NewConnections
                | Self::Set(_)
                | Self::Several
                | Self::Message
                | Self::Futex
                | Self::FromChannel
                | Self::Channels
                | Self::Condition
                | Self::Other
                | Self::Unknown
        )
    }

    /// Nothing but the end of this piece of work ends it.
    pub fn is_of_work(self) -> bool {
        match self {
            Self::Upstream(connection) => is_silent(connection),
            Self::PeerReads(connection) => {
                connection.send_q > 0 && matches!(connection.state, ESTABLISHED | CLOSE_WAIT)
            }
            Self::Lock(_)
            | Self::Reader(_)
            | Self::Taker
            | Self::Group
            | Self::Time
            | Self::Disk
            | Self::Child => true,
            _ => false,
        }
    }

    /// The same, or a wait of which it is not known whose it is.
    pub fn may_be_of_work(self) -> bool {
        self.is_of_work() || matches!(self, Self::Futex)
    }
}

/// A thread, what it waits for, and since when.
pub fn one(waits: &Waits<'_>, thread: &Thread, now: u64) -> String {
    /// A wait that began less than a second ago may be one of many, between which the thread computes.
    const SHORT: u64 = 1_000_000_000;
    let name = thread.name.as_deref().unwrap_or(&thread.comm);
    let since = thread.since.map(|since| now.saturating_sub(since));
    let since = match since {
        Some(since) if since < SHORT => ", since less than a second ago".to_owned(),
        Some(since) => format!(" for at least {}", span(since)),
        None => String::new(),
    };
    let call = thread
        .syscall
        .as_ref()
        .map_or_else(String::new, |call| match thread.fd {
            Some(fd) => format!(" ({call}(), fd {fd})"),
            None => format!(" ({call}())"),
        });
    let verb = waits.doing(thread);
    match thread.actor() {
        Actor::Thread(tid) => format!("{name} (tid {tid}): {verb}{call}{since}"),
        goroutine @ Actor::Goroutine(_) => format!("{goroutine}: {verb}{call}{since}"),
        Actor::Task(_) => format!("{name}: {verb}"),
    }
}
