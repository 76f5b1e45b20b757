//! Does the call that handled a socket still run? Compares the stack of an operation with what its thread
//! does now. An equal slot of the stack is not the same call; only what excludes other work since makes it so.

use foldhash::HashSet;

use tracer_common::event::OUTSIDE;

use super::{ReportContext, common::Common, idle, locks, waits::WaitsFor};
use crate::model::{
    input::{Connection, Thread},
    socket::LastOperation,
    stack::{Frame, Stack},
    wait::Wait,
};

/// What became of the call that made an operation.
#[derive(Clone, Copy, Debug)]
pub enum Activation<'a> {
    /// It has ended, by this.
    Over(Over),
    /// It still runs in this thread.
    Same(&'a Thread, Sameness<'a>),
    /// The thread is in the same place, but nothing excludes that it has begun other work since.
    Possible(&'a Thread),
    /// The thread began after the connection was opened and has touched no other, but what it waits for may be other
    /// work.
    Began(&'a Thread),
    /// By its runtime's frames it executes a piece of work, and waits in it since right after that; it may be the next one.
    AtOnce(&'a Thread),
    Unknown,
}

impl Activation<'_> {
    /// Somebody is at work on it, or may be.
    pub const fn is_at_work(&self) -> bool {
        matches!(
            self,
            Self::Same(..) | Self::Possible(_) | Self::Began(_) | Self::AtOnce(_)
        )
    }

    /// The same, by more than that the only thread has done nothing else since: so it is between two requests of a client,
    /// too, and what it did then has long returned.
    pub const fn is_at_work_beyond_doing_nothing(&self) -> bool {
        match self {
            Self::Same(_, by) => {
                (by.frames | by.in_call | by.own_thread | by.one_each | by.own_goroutine)
                    || by.is_by_connection()
            }
            _ => self.is_at_work(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    ThreadEnded,
    /// Others hold the connection, its process does not.
    NotHeld,
    GoroutineEnded,
    /// The thread has turned to another connection.
    WentOn,
    /// The thread is where it waits for new work.
    Idle,
    /// Its functions are no longer on the stack.
    Returned,
    /// The thread left an older connection behind at the same place.
    LeftBehind,
}

/// How it is known that it is the same call.
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that hold or not, each by itself"
)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Sameness<'a> {
    /// It waits for the peer to take what it writes to this very connection.
    pub writes_to_it: bool,
    /// Its stack has the same frames. Without that, and without a fact of this very call, the thread has not left
    /// a CPU but for the present wait, which is for something that brings no work.
    pub frames: bool,
    /// It waits on a connection that it opened, or wrote to, after it last touched the socket.
    pub asked: Option<&'a Connection>,
    /// The process was started for this connection.
    pub own_process: bool,
    /// It is the only thread of its process, and has not left a CPU but for the present wait, which brings no work.
    pub nothing_else: bool,
    /// The thread began after the connection was opened, has touched no other, and waits for something that brings no
    /// work.
    pub own_thread: bool,
    /// So did all that are in this place, each for a connection of its own, and it is in the functions that touched it.
    pub one_each: bool,
    /// It is the only thread of its process, has touched nothing else, and began the present wait, which brings no
    /// work, right after it touched the socket.
    pub only_thread: bool,
    /// It is a goroutine, and has touched no other client.
    pub own_goroutine: bool,
    /// And is at a piece of work of the server that started it for this connection alone.
    pub started_for: bool,
    /// It is a virtual thread that its executor started for one task, in which it touched this connection and no other.
    pub own_task: bool,
    /// It computes, by samples of all of which the function that made the operation was in the same place.
    pub in_call: bool,
}

impl Sameness<'_> {
    /// A fact of this very call, beside the place.
    pub const fn is_sure(self) -> bool {
        self.nothing_else || self.is_by_connection()
    }

    const fn is_by_connection(self) -> bool {
        (self.writes_to_it | self.own_process | self.started_for | self.own_task)
            || self.asked.is_some()
    }
}

impl Over {
    /// An evidence line.
    pub const fn says(self) -> &'static str {
        match self {
            Self::ThreadEnded => "the thread that touched it last has ended",
            Self::NotHeld => "the process that touched it last holds it no more",
            Self::GoroutineEnded => "the goroutines that read or wrote it have ended",
            Self::WentOn => {
                "the thread that touched it last has turned to another connection since"
            }
            Self::Idle => "the thread that touched it last waits for new work or events",
            Self::Returned => "the functions that touched it last have returned",
            Self::LeftBehind => {
                "the thread that touched it last left older ones behind at the same place"
            }
        }
    }
}

impl<'a> ReportContext<'a> {
    /// The thread that writes to this connection, and waits for the peer to take it.
    pub fn writing_to(&self, cookie: u64) -> Option<Activation<'a>> {
        let thread = self.writers.get(&cookie)?;
        let sameness = Sameness {
            writes_to_it: true,
            ..Sameness::default()
        };
        Some(Activation::Same(thread, sameness))
    }

    /// `all_threads`: those of the process were all looked at.
    pub fn activation(
        &self,
        cookie: u64,
        operation: LastOperation,
        all_threads: bool,
    ) -> Activation<'a> {
        let stack = self.tracker.stack(operation.stack);
        let of_tasks = stack.is_some_and(|stack| stack.frames.iter().any(Frame::is_of_tasks));
        // Where goroutines are told in place of threads, it is not known which one made it.
        let of_nobody =
            operation.goroutine.is_none() && self.tracker.goroutines(operation.pid).is_some();
        if operation.pid == OUTSIDE || of_nobody || self.is_of_unknown_virtual_thread(operation) {
            return Activation::Unknown;
        }
        let Some(thread) = self.threads.seen(operation.actor()) else {
            return match (of_tasks, all_threads) {
                (false, true) => Activation::Over(Over::ThreadEnded),
                _ => Activation::Unknown,
            };
        };
        if self.turning.contains(&operation.actor()) {
            return Activation::Unknown;
        }
        if switches_stacks(&thread.stack) || stack.is_some_and(|s| switches_stacks(&s.frames)) {
            return Activation::Unknown;
        }
        let running = self.running(cookie, operation, thread, stack);
        match running {
            // A task may be suspended and go on elsewhere.
            Activation::Over(_) if of_tasks => Activation::Unknown,
            known => known,
        }
    }

    fn running(
        &self,
        cookie: u64,
        operation: LastOperation,
        thread: &'a Thread,
        stack: Option<&'a Stack>,
    ) -> Activation<'a> {
        if self
            .threads
            .went_on(operation.actor(), cookie, operation.at)
            .is_some()
        {
            return Activation::Over(Over::WentOn);
        }
        let waits = self.waits.of(thread);
        if matches!(waits, WaitsFor::NewConnections) || self.is_idle(thread) {
            return Activation::Over(Over::Idle);
        }
        let common = stack.map_or(Common::Unknown, |stack| {
            self.common(operation, stack, thread)
        });
        if common == Common::Nothing {
            return Activation::Over(Over::Returned);
        }
        let asked = match waits {
            WaitsFor::Upstream(connection) => self.asked_since(connection, operation),
            _ => None,
        };
        let own_process = self.is_forked_for(operation.pid, cookie);
        if asked.is_some() || own_process {
            let sameness = Sameness {
                frames: common == Common::Inside,
                asked,
                own_process,
                ..Sameness::default()
            };
            return Activation::Same(thread, sameness);
        }
        if matches!(waits, WaitsFor::Set(_) | WaitsFor::Several) {
            return self.in_loop(operation, waits, thread);
        }
        let crowd = self.places.of(thread);
        if self.left_behind(cookie, operation) || crowd.left_behind {
            return Activation::Over(Over::LeftBehind);
        }
        let alone = self.tracker.threads(operation.pid).len() == 1;
        let computes = self.waits.computes(thread).is_some();
        let in_call =
            computes && stack.is_some_and(|stack| self.is_in_call(operation, stack, thread));
        let nothing_else = alone
            && (matches!(waits, WaitsFor::Futex) || !waits.may_bring_work())
            && (in_call || !computes);
        // A wait that may bring work looks the same in a worker that is free, unless all that sit in it have
        // a connection each.
        let together = crowd.threads > 1 && crowd.free == 0 && thread.sampled.is_none();
        let of_work = waits.is_of_work() || computes || together;
        let frames = common == Common::Inside && of_work;
        // Where the two stacks cannot be compared, the wait alone has to show that there was no other work.
        let kept = locks::is_kept(thread, self.blamer);
        let at_work = waits.is_of_work() || computes || kept || locks::is_bare(thread, self.blamer);
        let no_work = common == Common::Unknown && at_work;
        let stayed = if computes {
            has_not_waited(operation, thread)
        } else {
            has_waited_once(operation, thread)
        };
        let waited_once = stayed && (frames || nothing_else || no_work);
        // A runtime may make its threads wait in between, for itself.
        let began_for = (crowd.threads <= 1 || crowd.free == 0) && self.began_for(cookie, thread);
        let own_thread = !waited_once && at_work && began_for;
        let in_place = matches!(common, Common::Inside | Common::Outermost)
            || common == Common::Unknown && self.names_it(stack, thread);
        let one_each = in_place && began_for && crowd.is_one_each();
        let started_for = began_for && idle::is_started_for_one(thread, self.blamer);
        let only_thread =
            !waited_once && alone && waits.is_of_work() && waits_since(operation, thread);
        if waited_once || own_thread || only_thread || one_each || started_for {
            let sameness = Sameness {
                frames,
                asked,
                own_process,
                nothing_else: nothing_else && waited_once,
                own_thread,
                one_each,
                started_for,
                only_thread,
                in_call,
                ..Sameness::default()
            };
            return Activation::Same(thread, sameness);
        }
        match common {
            Common::Inside if crowd.free == 0 => Activation::Possible(thread),
            // A wait that looks again from time to time leaves a CPU more than once.
            Common::Unknown if kept || self.names_it(stack, thread) => Activation::Possible(thread),
            _ if began_for => Activation::Began(thread),
            _ if waits_since(operation, thread)
                && (idle::is_at_work(thread, self.blamer) || self.is_called(thread)) =>
            {
                Activation::AtOnce(thread)
            }
            _ if self.is_in_callback(operation, thread) => Activation::Possible(thread),
            _ => Activation::Unknown,
        }
    }

    /// It began when the connection was there already, and has touched no other.
    pub(super) fn began_for(&self, cookie: u64, thread: &Thread) -> bool {
        let opened = self.tracker.opened(cookie);
        let touches = self.threads.touches(thread.actor());
        thread.began != 0
            && opened.is_some_and(|opened| opened.at <= thread.began)
            && touches.iter().all(|touch| touch.cookie == cookie)
    }

    /// It waits for events. The loop of several clients waits for new work; any other may be part of serving this
    /// one.
    fn in_loop(
        &self,
        operation: LastOperation,
        waits: WaitsFor<'_>,
        thread: &'a Thread,
    ) -> Activation<'a> {
        let clients = match waits {
            WaitsFor::Set(set) => self.set_has_clients(operation.pid, set),
            _ => false,
        };
        if clients || !self.serves_alone(operation) {
            Activation::Over(Over::Idle)
        } else if self.is_in_callback(operation, thread) {
            Activation::Possible(thread)
        } else {
            Activation::Unknown
        }
    }

    /// A server's code, which is not the program's own, has read the request and called the program; of one client at most.
    /// Where the program waits in another loop, what it asked for says more.
    fn is_in_callback(&self, operation: LastOperation, thread: &Thread) -> bool {
        let server = self.calls_another(operation, thread);
        self.serves_alone(operation)
            && server.is_some_and(|server| !self.is_own(server))
            && self.blame(&thread.stack).is_some()
    }

    /// Who made the operation has touched one client at most.
    fn serves_alone(&self, operation: LastOperation) -> bool {
        let touches = self.threads.touches(operation.actor()).iter();
        let served: HashSet<u64> = touches
            .filter(|touch| self.threads.is_accepted(touch.cookie))
            .map(|touch| touch.cookie)
            .collect();
        served.len() <= 1
    }

    /// Where stacks cannot be compared from outside: the function that made the operation is on the present one.
    fn names_it(&self, stack: Option<&Stack>, thread: &Thread) -> bool {
        let blamed = stack.and_then(|stack| {
            let blamed = stack.frames.get(self.blame(&stack.frames)?)?;
            blamed.function.is_some().then_some(blamed)
        });
        blamed.is_some_and(|blamed| thread.stack.iter().any(|frame| frame.is_same_code(blamed)))
    }

    /// The connection the thread waits on, if it opened or wrote to it after that operation.
    pub(super) fn asked_since(
        &self,
        connection: &'a Connection,
        operation: LastOperation,
    ) -> Option<&'a Connection> {
        let after = self.threads.touches_after(operation.actor(), operation.at);
        after
            .iter()
            .any(|touch| touch.cookie == connection.cookie)
            .then_some(connection)
    }

    /// An older connection that is stuck was touched last by the same thread at the same place: what it does now
    /// is no work on any of them.
    pub(super) fn left_behind(&self, cookie: u64, operation: LastOperation) -> bool {
        let place = self.last_place_of(operation.stack);
        self.stuck_last
            .get(&operation.actor())
            .into_iter()
            .flatten()
            .any(|touch| {
                touch.cookie != cookie
                    && touch.operation.at < operation.at
                    && self.last_place_of(touch.operation.stack) == place
            })
    }
}

/// Since the operation it has left a CPU for the present wait at most; that other tasks took its place says nothing.
fn has_waited_once(operation: LastOperation, thread: &Thread) -> bool {
    let known = operation.sp != 0 && thread.switches != 0;
    known && (thread.switches as u32).wrapping_sub(operation.switches) <= 1
}

/// Nor for any: it computes, and there is no present wait.
fn has_not_waited(operation: LastOperation, thread: &Thread) -> bool {
    has_waited_once(operation, thread) && thread.switches as u32 == operation.switches
}

/// The present wait began so soon after the operation that there was no time for much else. A loop that sleeps does
/// so as well.
fn waits_since(operation: LastOperation, thread: &Thread) -> bool {
    const SOON: u64 = 500_000_000;
    let sleeps = matches!(thread.wait, Wait::Sleep);
    let since = thread.since.filter(|since| *since >= operation.at);
    !sleeps && since.is_some_and(|since| since - operation.at < SOON)
}

/// Greenlets share one stack and take turns on it: equal places prove nothing.
fn switches_stacks(frames: &[Frame]) -> bool {
    frames.iter().any(Frame::is_of_greenlets)
}
