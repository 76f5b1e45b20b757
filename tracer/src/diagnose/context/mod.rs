//! What all sockets of one report share, computed once: who is at work, in which activation, waiting for what.
//! Rules ask it; it proves nothing by itself.

pub mod acceptors;
pub mod activations;
pub mod behind;
pub mod closers;
mod closes;
mod common;
pub mod computing;
pub mod decoded;
mod forks;
mod goroutines;
mod handovers;
mod idle;
mod kept;
mod locks;
pub mod loops;
mod openings;
pub mod pairs;
mod places;
pub mod pools;
mod stacks;
mod tasks;
pub mod threads;
pub mod virtual_threads;
mod wait_words;
pub mod waits;
mod wrappers;

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr};

use foldhash::{HashMap, HashSet};

use self::{
    behind::Started,
    closers::{ClosedIn, Closer},
    closes::CallSites,
    forks::Forks,
    kept::{Kept, Kind, Sleepers},
    loops::LoopHabits,
    pairs::Pairs,
    places::Places,
    pools::Pool,
    threads::{Threads, Touch, operations},
    virtual_threads::Crowd,
    waits::{Waits, WaitsFor},
};
use super::Blamer;
use crate::{
    model::{
        actor::Actor,
        input::{Interest, Thread},
        socket::{History, SocketOperation},
        stack::{Frame, Step, path},
        task::is_for_virtual_threads,
    },
    track::Tracker,
};

pub struct ReportContext<'a> {
    pub tracker: &'a Tracker,
    pub threads: Threads<'a>,
    pub waits: Waits<'a>,
    pub pairs: Pairs<'a>,
    pub loop_habits: LoopHabits,
    blamer: Blamer<'a>,
    call_sites: CallSites,
    places: Places,
    started: Started<'a>,
    pools: BTreeMap<u32, Pool<'a>>,
    /// By the cookies of those of which nothing was read.
    pub started_for: HashMap<u64, &'a Thread>,
    /// By the place of opening.
    closers: HashMap<u64, Closer<'a>>,
    closed_in: HashMap<u64, Vec<ClosedIn<'a>>>,
    /// What was found out, by place of opening and stack of the last use.
    closed_elsewhere: RefCell<HashMap<(u64, u64), bool>>,
    kinds: HashMap<Actor, Kind>,
    /// By process.
    kept: HashMap<u32, Vec<Kept>>,
    /// By process.
    sleepers: HashMap<u32, Vec<Sleepers>>,
    /// Who waits for the peer of a connection to take what it writes to it.
    writers: HashMap<u64, &'a Thread>,
    /// The last operations on stuck sockets, by their threads.
    stuck_last: HashMap<Actor, Vec<Touch<'a>>>,
    /// Of open connections, by cookie.
    local_ports: HashMap<u64, u16>,
    /// One number for all keys with the same frames.
    last_places: HashMap<u64, u64>,
    forks: Forks,
    /// Functions of the program through which it makes nearly all its reads: module and function.
    wrappers: HashSet<(&'a str, &'a str)>,
    /// By process: an interest by the inode it watches, and by its number where the inode is unknown.
    interests: HashMap<(u32, Watched), Interest>,
    /// Processes that left answers on connections which they opened, with the servers.
    pub answers_left: HashSet<(u32, SocketAddr)>,
    /// Threads that opened one connection after the other to a server while they had idle ones to it.
    pub passes_over: HashSet<(Actor, SocketAddr)>,
    /// Places of a last use and servers, of connections that several functions opened: they come from a pool.
    pub of_several_openers: HashSet<(u64, SocketAddr)>,
    /// Processes whose threads of control the kernel does not see.
    of_tasks: HashSet<u32>,
    /// By process: where virtual threads wait of which nothing else is known.
    pub virtual_crowds: HashMap<u32, Crowd<'a>>,
    /// Threads that run fibers or coroutines, on stacks of their own.
    turning: HashSet<Actor>,
}

impl<'a> ReportContext<'a> {
    /// All of it, to judge by.
    pub fn new(tracker: &'a Tracker, blamer: Blamer<'a>) -> Self {
        let mut context = Self::of_stuck(tracker, blamer);
        context.pairs = Pairs::new(tracker, &context.threads, &context.waits);
        context.call_sites = CallSites::new(tracker);
        context.started = Started::new(tracker);
        context.local_ports = local_ports(tracker);
        context.wrappers = wrappers::find(tracker, blamer);
        context.interests = interests(tracker);
        context.answers_left = openings::answers_left(tracker);
        context.passes_over = openings::passing_over(tracker);
        context.turning = stacks::turning(tracker);
        context.note_last_operations();
        context.of_several_openers = context.find_several_openers();
        context.loop_habits = LoopHabits::new(tracker, |key| context.last_place(key));
        context.forks = context.find_forks();
        context.note_tasks();
        context.places = context.find_places();
        context.pools = context.starving_pools();
        context.started_for = context.find_started_for();
        context.closers = context.find_closers();
        context.kinds = context.find_kinds();
        context.kept = context.find_kept();
        context.sleepers = context.find_sleepers();
        context.closed_in = context.find_closed_in();
        let crowd = |pid: u32| Some((pid, context.virtual_crowd(pid)?));
        context.virtual_crowds = tracker.threaded().filter_map(crowd).collect();
        context
    }

    /// Enough to tell which sockets are stuck and who holds them, as has to be known before what is missing for a verdict
    /// can be read.
    pub fn of_stuck(tracker: &'a Tracker, blamer: Blamer<'a>) -> Self {
        let threads = Threads::new(tracker);
        let waits = Waits::new(tracker, &threads, blamer);
        Self {
            tracker,
            writers: writers(tracker, &waits),
            threads,
            waits,
            blamer,
            pairs: Pairs::default(),
            loop_habits: LoopHabits::default(),
            call_sites: CallSites::default(),
            places: Places::default(),
            started: Started::default(),
            pools: BTreeMap::new(),
            started_for: HashMap::default(),
            closers: HashMap::default(),
            closed_in: HashMap::default(),
            closed_elsewhere: RefCell::default(),
            kinds: HashMap::default(),
            kept: HashMap::default(),
            sleepers: HashMap::default(),
            stuck_last: HashMap::default(),
            local_ports: HashMap::default(),
            last_places: HashMap::default(),
            forks: Forks::default(),
            wrappers: HashSet::default(),
            interests: HashMap::default(),
            answers_left: HashSet::default(),
            passes_over: HashSet::default(),
            of_several_openers: HashSet::default(),
            of_tasks: HashSet::default(),
            virtual_crowds: HashMap::default(),
            turning: HashSet::default(),
        }
    }

    fn note_last_operations(&mut self) {
        let mut firsts: HashMap<Vec<Step<'_>>, u64> = HashMap::default();
        for socket in self.tracker.sockets() {
            let last = operations(&socket.history).max_by_key(|last| last.at);
            let Some(operation) = last else {
                continue;
            };
            let cookie = socket.cookie;
            let of_thread = self.stuck_last.entry(operation.actor()).or_default();
            of_thread.push(Touch { cookie, operation });
            let key = operation.stack;
            if !self.last_places.contains_key(&key)
                && let Some(stack) = self.tracker.stack(key)
            {
                let first = *firsts.entry(path(&stack.frames)).or_insert(key);
                self.last_places.insert(key, first);
            }
        }
    }

    /// One number for all keys whose stacks have the same frames, of last operations on stuck sockets.
    pub fn last_place(&self, key: u64) -> Option<u64> {
        self.last_places.get(&key).copied()
    }

    /// The same place for sockets opened along the same frames: one path can have several keys.
    pub fn call_site_of(&self, opened: u64) -> u64 {
        self.call_sites.of(opened)
    }

    /// Whom to blame among these frames: not the function through which all reads go, but who called it; nobody where
    /// that is not known.
    pub fn blame(&self, frames: &[Frame]) -> Option<usize> {
        let mut at = (self.blamer)(frames)?;
        while frames
            .get(at)
            .is_some_and(|frame| wrappers::has(&self.wrappers, frame))
        {
            let outwards = frames.get(at + 1..).and_then(|outer| (self.blamer)(outer));
            at += outwards? + 1;
        }
        Some(at)
    }

    /// Is it the program's own code?
    pub fn is_own(&self, frame: &Frame) -> bool {
        (self.blamer)(std::slice::from_ref(frame)).is_some()
    }

    /// If both were on one stack, this one would be blamed though the other is further in.
    pub fn outranks(&self, frame: &Frame, inner: &Frame) -> bool {
        self.blame(&[inner.clone(), frame.clone()]) == Some(1)
    }

    /// Which registration in an epoll set of the process watches the file.
    pub fn interest(&self, pid: u32, inode: u64, fd: u32) -> Option<Interest> {
        let by_inode = self.interests.get(&(pid, Watched::Inode(inode)));
        by_inode
            .or_else(|| self.interests.get(&(pid, Watched::Number(fd))))
            .copied()
    }

    /// The set watches connections that its process has accepted.
    fn set_has_clients(&self, pid: u32, set: u32) -> bool {
        let members = self.interests.iter().filter(|((owner, _), interest)| {
            *owner == pid && (interest.set == set || interest.set == 0 || set == 0)
        });
        members.into_iter().any(|((_, watched), _)| match watched {
            Watched::Inode(inode) => self.waits.is_client(*inode),
            Watched::Number(_) => true,
        })
    }

    /// The thread that opened a connection turned to another one that it opened, and then to this one again. That is no second
    /// request yet: a loop does so within the first, and one piece of work may ask two servers in turn.
    pub fn was_turned_to_again(&self, cookie: u64) -> bool {
        let Some((opened, used)) = self
            .threads
            .history(cookie)
            .and_then(|history| history.opened.zip(history.used))
        else {
            return false;
        };
        let between = self.threads.touches_after(opened.actor(), opened.at).iter();
        let mut between = between.take_while(|touch| touch.operation.at < used.at);
        used.actor() == opened.actor()
            && between
                .any(|touch| touch.cookie != cookie && self.threads.is_connected(touch.cookie))
    }

    /// Others use what the process that accepted this one has accepted: it gives connections away.
    pub fn gives_away(&self, history: History) -> bool {
        let opened = history
            .opened
            .filter(|opened| opened.kind == SocketOperation::Accept);
        opened.is_some_and(|opened| self.threads.gives_away(opened.pid))
    }

    /// A thread of the process waits for events.
    pub fn some_loop_waits(&self, pid: u32) -> bool {
        let threads = self.tracker.threads(pid).iter();
        threads
            .map(|thread| self.waits.of(thread))
            .any(|waits| matches!(waits, WaitsFor::Set(_) | WaitsFor::Several))
    }

    /// The thread waits, and not in this function: it was called, and has returned. `None` where that is not known.
    pub fn has_returned_from(&self, actor: Actor, function: &Frame) -> Option<bool> {
        let thread = self.threads.seen(actor)?;
        let is_known = thread.syscall.is_some() && !thread.stack.is_empty();
        let is_there = || {
            thread
                .stack
                .iter()
                .any(|frame| frame.is_same_code(function))
        };
        is_known.then(|| !is_there())
    }

    pub fn runs_tasks(&self, pid: u32) -> bool {
        self.of_tasks.contains(&pid)
    }

    fn note_tasks(&mut self) {
        for pid in self.tracker.threaded() {
            if self.knows_goroutines(pid) {
                continue;
            }
            let threads = self.tracker.threads(pid).iter();
            let mut theirs = threads.filter(|thread| {
                is_for_virtual_threads(&thread.comm)
                    || thread.stack.iter().any(Frame::is_of_tasks)
                    || self.turning.contains(&thread.actor())
            });
            if theirs.next().is_some() {
                self.of_tasks.insert(pid);
            }
        }
        // None of them may be on a CPU now.
        let histories = self.threads.histories();
        let operations =
            histories.flat_map(|(_, history)| [history.opened, history.used, history.eof]);
        for operation in operations.flatten() {
            let stack = self.tracker.stack(operation.stack);
            if !self.knows_goroutines(operation.pid)
                && stack.is_some_and(|stack| stack.frames.iter().any(Frame::is_of_tasks))
            {
                self.of_tasks.insert(operation.pid);
            }
        }
    }
}

fn local_ports(tracker: &Tracker) -> HashMap<u64, u16> {
    let open = tracker.connections().iter();
    open.map(|connection| (connection.cookie, connection.endpoints.local.port()))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Watched {
    Inode(u64),
    Number(u32),
}

fn interests(tracker: &Tracker) -> HashMap<(u32, Watched), Interest> {
    let mut interests = HashMap::default();
    for (pid, interest) in tracker.interests() {
        let watched = match interest.inode {
            0 => Watched::Number(interest.fd),
            inode => Watched::Inode(inode),
        };
        interests.entry((pid, watched)).or_insert(interest);
    }
    interests
}

fn writers<'a>(tracker: &'a Tracker, waits: &Waits<'a>) -> HashMap<u64, &'a Thread> {
    let threads = tracker.threaded().flat_map(|pid| tracker.threads(pid));
    let writes = |thread: &'a Thread| match waits.of(thread) {
        waits if !waits.is_of_work() => None,
        WaitsFor::PeerReads(connection) => Some((connection.cookie, thread)),
        _ => None,
    };
    threads.filter_map(writes).collect()
}
