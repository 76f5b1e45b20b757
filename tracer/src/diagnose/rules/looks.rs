//! How sure a verdict is: a positive fact, and the ways in which it could be otherwise that were looked at. Each
//! look is told to the reader.

use super::super::{
    SocketView,
    context::{
        activations::{Activation, Over},
        pools::{self, Queue},
        waits::WaitsFor,
    },
};
use crate::model::{
    actor::Actor,
    report::Direction,
    socket::{LastOperation, SocketOperation},
    verdict::Confidence,
};

/// So long an event loop has to be watched to know what it does with its sockets: five seconds.
const LONG_ENOUGH: u64 = 5_000_000_000;

/// The looks at one socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Looks {
    /// Facts that exclude another cause.
    pub excluded: Vec<&'static str>,
    /// What was not, or could not be, looked at.
    pub missing: Vec<&'static str>,
    eliminated: bool,
}

impl Looks {
    /// Looked at with a result that excludes another cause, or not.
    #[must_use]
    pub fn look(mut self, excluded: bool, fact: &'static str, missing: &'static str) -> Self {
        if excluded {
            if !fact.is_empty() {
                self.excluded.push(fact);
            }
        } else {
            self.missing.push(missing);
        }
        self
    }

    /// Another cause is not only possible but has something that speaks for it.
    #[must_use]
    pub fn doubt(mut self, other: bool, why: &'static str) -> Self {
        if other {
            self.missing.push(why);
            self.eliminated = true;
        }
        self
    }

    /// There is no positive fact: nothing else is left, no more.
    #[must_use]
    pub fn by_elimination(mut self) -> Self {
        self.eliminated = true;
        self
    }

    pub fn confidence(&self) -> Confidence {
        match self.missing.len() {
            _ if self.eliminated => Confidence::Low,
            0 => Confidence::High,
            1 => Confidence::Medium,
            _ => Confidence::Low,
        }
    }
}

/// Nobody works on a socket and nobody will be told of it: what every verdict of a forgotten one needs.
pub fn nobody(view: &SocketView<'_>) -> Looks {
    let queue = queue(view);
    let looks = match view.activation() {
        Activation::Over(over) => Looks::default().look(true, over.says(), ""),
        _ => Looks::default()
            .look(
                false,
                "",
                "whether the call that touched it last still runs is not known",
            )
            .by_elimination(),
    };
    // Pools keep connections that no goroutine has to do with.
    let looks = looks
        .look(
            !computes_else(view),
            "",
            "the thread that touched it last computes something else, after which it may come back to it",
        )
    .look(
        !matches!(view.activation(), Activation::Over(Over::GoroutineEnded)),
        "",
        "whether an object of the program still refers to it is not known",
    );
    let looks = looks
        .doubt(
            view.runs_tasks(),
            "the program runs tasks or coroutines of its own, and the kernel does not see what each waits for",
        )
        .look(
            view.epoll_known() && view.watch().is_none(),
            if view.knows_goroutines() {
                "no goroutine waits for it"
            } else {
                "no epoll set holds its descriptor"
            },
            if view.watch().is_some() {
                "an epoll set holds it, which has told of the hang-up once and does not tell again"
            } else {
                "not all epoll sets could be looked at"
            },
        )
        .look(
            !may_be_parked(view),
            "",
            "its event loop may have taken it out for a while, to put it back: that is its habit, or was not watched for \
             long enough",
        )
        .look(
            view.threads_known() && view.polls_known() && !view.is_polled(),
            "no thread asks for it with poll() or select()",
            "what some threads wait for could not be read",
        )
        .doubt(
            view.direction() == Some(Direction::Accepted) && view.may_be_answered_for(),
            "the thread that touched it last waits for something besides connections, a pipe or the like, and may come back to it then",
        )
        .look(
            queue != Queue::Possible,
            "",
            "threads that may be free or stuck workers wait in one place: it may lie in their queue",
        )
        .doubt(
            queue == Queue::Possible && is_unanswered(view),
            "nobody has answered what was read",
        )
        .doubt(
            queue == Queue::Likely,
            "it may lie in the queue of a worker that is busy",
        )
        .doubt(
            serves_an_older_one(view),
            "the thread that wrote to it last waits for a client that was there before: it may write to this one again when \
             that sends something",
        )
        .doubt(
            was_something_asked(view),
            "the process has asked a server since, which has not answered",
        )
        .doubt(
            may_share_an_answer(view),
            "a thread of the process waits for a server's answer that it asked for before: this one may wait for the same",
        );
    looks
        .look(
            view.sees_reads() && view.sees_writes(),
            "",
            "reads or writes are not observed on this host",
        )
        .look(
            view.whole_life_seen(),
            "",
            "it is older than the tracer, or its opening was not seen",
        )
        .look(view.nothing_lost(), "", "some events were lost")
}

/// It is in no epoll set, and its process has an event loop whose habits are not known yet.
fn may_be_parked(view: &SocketView<'_>) -> bool {
    let is_out = view.watch().is_none() && !view.knows_goroutines();
    let mut loops = view
        .holder_pids()
        .iter()
        .copied()
        .filter(|pid| view.context.some_loop_waits(*pid));
    is_out
        && loops.any(|pid| {
            let watched = view.tracker.loops_watched(pid);
            let for_long = watched
                .is_some_and(|watched| watched.to.saturating_sub(watched.from) >= LONG_ENOUGH);
            !for_long || view.context.loop_habits.returned(pid) > 0
        })
}

/// Who passes on to several what one of them sends turns to each of them again.
fn serves_an_older_one(view: &SocketView<'_>) -> bool {
    let wrote = view
        .last_operation()
        .filter(|last| last.kind == SocketOperation::Send);
    let writer = wrote.and_then(|last| view.context.threads.seen(last.actor()));
    let Some(WaitsFor::ClientSends(other)) = writer.map(|writer| view.context.waits.of(writer))
    else {
        return false;
    };
    let opened = |cookie| {
        view.context
            .threads
            .history(cookie)
            .and_then(|known| known.opened)
    };
    let was_there = |opened: LastOperation| {
        let own = view.socket.history.opened;
        own.is_some_and(|own| opened.at <= own.at)
    };
    other.cookie != view.socket.cookie && opened(other.cookie).is_none_or(was_there)
}

/// A request was read, and nobody has answered it. Where a loop waits for events, the answer may wait for something, as a long
/// poll's does.
pub fn is_unanswered(view: &SocketView<'_>) -> bool {
    let used = view.socket.history.used;
    view.direction() == Some(Direction::Accepted)
        && used.is_some_and(|used| used.kind == SocketOperation::Recv)
}

/// Who read the request accepts others as well, and threads of the program wait that may have it.
pub fn may_be_queued(view: &SocketView<'_>) -> bool {
    is_unanswered(view) && queue(view) != Queue::No
}

/// Where the thread that touched it last hands connections over: may it wait for another one?
fn queue(view: &SocketView<'_>) -> Queue {
    let Some(last) = view.last_operation() else {
        return Queue::Likely;
    };
    if !view.context.threads.has_accepted(last.actor()) {
        // What a worker gives back for the next request comes before its pool again.
        let of_pool = view.starving_pool().is_some_and(|pool| {
            let mut busy = pool.busy.iter();
            busy.any(|thread| thread.actor() == last.actor())
        });
        let is_handed =
            of_pool || is_handed_on(view, last.actor()) || is_read_for_workers(view, last);
        return if is_handed { Queue::Likely } else { Queue::No };
    }
    let threads = view
        .holder_pids()
        .iter()
        .flat_map(|pid| view.tracker.threads(*pid));
    let others = threads.filter(|thread| thread.actor() != last.actor());
    let queues = others.map(|thread| view.context.queue_before(thread));
    queues.max().unwrap_or(Queue::No)
}

/// A server's loop that has read a request gives it to threads that are in the program's code.
fn is_handed_on(view: &SocketView<'_>, by: Actor) -> bool {
    let pids = view.holder_pids().iter();
    let called = pids
        .flat_map(|pid| view.tracker.threads(*pid))
        .filter(|thread| view.context.is_called(thread));
    let mut called = called.peekable();
    called.peek().is_some() && called.all(|thread| thread.actor() != by)
}

/// A thread that waits for events or for the next piece of work, and accepts nothing itself, has read the request; and
/// others, which are not of its pool, are at pieces of work that they got from somebody, and are kept in them.
fn is_read_for_workers(view: &SocketView<'_>, last: LastOperation) -> bool {
    let context = view.context;
    let Some(reader) = context.threads.seen(last.actor()) else {
        return false;
    };
    let is_free = matches!(context.waits.of(reader), WaitsFor::Set(_)) || context.is_idle(reader);
    let mut threads = (view.holder_pids().iter()).flat_map(|pid| view.tracker.threads(*pid));
    last.kind == SocketOperation::Recv
        && is_free
        && threads.any(|thread| {
            let waits = context.waits.of(thread);
            let kept = waits.may_be_of_work();
            kept && !pools::are_named_alike(thread, reader)
                && !context.is_idle(thread)
                && context.is_at_work(thread)
        })
}

/// A server may read in one thread what others serve, and meet the end while they are at it: what came was not answered, and
/// a thread, of another kind than the reader, waits in functions of the program that others of it called.
pub fn may_be_served_elsewhere(view: &SocketView<'_>, read: LastOperation) -> bool {
    let used = view.socket.history.used;
    let mut pids = view.holder_pids().iter();
    match used {
        Some(used) if used.kind == SocketOperation::Recv => {
            pids.any(|pid| view.context.is_another_kept(*pid, read))
        }
        // What was answered may have been acknowledged only: who works on it began right after that.
        Some(_) => pids.any(|pid| view.context.is_another_kept_since(*pid, read)),
        None => false,
    }
}

/// By samples, who touched it last computes, and no longer in the call that did it.
pub fn computes_else(view: &SocketView<'_>) -> bool {
    let left = matches!(
        view.activation(),
        Activation::Over(Over::Returned | Over::LeftBehind)
    );
    let last = view.last_operation();
    let thread = last.and_then(|last| view.context.threads.seen(last.actor()));
    left && !view.reads_on() && thread.is_some_and(|thread| thread.sampled.is_some())
}

/// Caches ask once for all that want the same thing, and put the others on a list.
fn may_share_an_answer(view: &SocketView<'_>) -> bool {
    let Some(last) = view.last_operation() else {
        return false;
    };
    let pids = view.holder_pids().iter();
    let mut threads = pids.flat_map(|pid| view.tracker.threads(*pid));
    threads.any(|thread| {
        let waits = view.context.waits.of(thread);
        let asked = thread.since.is_none_or(|since| since <= last.at);
        asked && matches!(waits, WaitsFor::Upstream(_)) && waits.is_of_work()
    })
}

/// The process asked a server after the last use, which has not answered.
pub fn was_something_asked(view: &SocketView<'_>) -> bool {
    let last = view.last_operation();
    view.holder_pids().iter().any(|pid| {
        let since = last.map_or(0, |last| last.at);
        view.context.pairs.asked_since(*pid, since)
    })
}
