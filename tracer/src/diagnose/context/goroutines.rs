//! Does a goroutine still serve a connection? Each is known by its own id, so what it waits in now is what it waits in;
//! whether it is still at the same piece of work, its stack and what else it has touched must show.

use foldhash::HashSet;

use super::{
    ReportContext,
    activations::{Activation, Over, Sameness},
    idle,
    waits::WaitsFor,
};
use crate::model::{
    actor::Actor,
    input::Thread,
    socket::{History, LastOperation},
    stack::{Frame, Stack},
    wait::Wait,
};

impl<'a> ReportContext<'a> {
    /// All goroutines of the process were looked at, and what each waits in.
    pub fn knows_goroutines(&self, pid: u32) -> bool {
        self.tracker.goroutines(pid) == Some(true)
    }

    /// What became of the calls of those that read or wrote it last; `None` when the last one was no goroutine.
    pub fn goroutine_activation(&self, cookie: u64, history: History) -> Option<Activation<'a>> {
        let mut used: Vec<LastOperation> =
            [history.used, history.eof].into_iter().flatten().collect();
        if used.is_empty() {
            used.extend(history.opened);
        }
        used.sort_by_key(|operation| std::cmp::Reverse(operation.at));
        let last = used.first().filter(|last| last.goroutine.is_some())?;
        if !self.knows_goroutines(last.pid) {
            return Some(Activation::Unknown);
        }
        let mut over = None;
        let mut seen = HashSet::default();
        for operation in used {
            // The reader that notices the hang-up is often another one than the handler.
            if operation.goroutine.is_none() || !seen.insert(operation.actor()) {
                continue;
            }
            match self.by_goroutine(cookie, operation) {
                Activation::Over(why) => over = over.or(Some(why)),
                other => return Some(other),
            }
        }
        Some(over.map_or(Activation::Unknown, Activation::Over))
    }

    fn by_goroutine(&self, cookie: u64, operation: LastOperation) -> Activation<'a> {
        let actor = operation.actor();
        let Some(thread) = self.threads.seen(actor) else {
            return Activation::Over(Over::GoroutineEnded);
        };
        if self.threads.went_on(actor, cookie, operation.at).is_some() {
            return Activation::Over(Over::WentOn);
        }
        let waits = self.waits.of(thread);
        match waits {
            WaitsFor::NewConnections => return Activation::Over(Over::Idle),
            WaitsFor::ClientSends(_) | WaitsFor::Unknown | WaitsFor::Cpu => {
                return Activation::Unknown;
            }
            _ => {}
        }
        let asked = match waits {
            WaitsFor::Upstream(connection) => self.asked_since(connection, operation),
            _ => None,
        };
        let crowd = self.places.of(thread);
        if asked.is_none() && (self.left_behind(cookie, operation) || crowd.left_behind) {
            return Activation::Over(Over::LeftBehind);
        }
        let stack = self.tracker.stack(operation.stack);
        let place = stack.map_or(Place::Unknown, |stack| place(operation, stack, thread));
        if place == Place::Loop && !waits.is_of_work() {
            return Activation::Over(Over::Idle);
        }
        let served: HashSet<u64> = self
            .threads
            .touches(actor)
            .iter()
            .filter(|touch| !self.threads.is_connected(touch.cookie))
            .map(|touch| touch.cookie)
            .collect();
        let only_this = served.iter().all(|served| *served == cookie);
        let started_for = only_this && idle::is_at_work(thread, self.blamer);
        let kept = waits.is_of_work() && !matches!(waits, WaitsFor::Time);
        if asked.is_some() || started_for || kept && only_this && place != Place::Unknown {
            let sameness = Sameness {
                frames: place != Place::Unknown,
                asked,
                own_goroutine: only_this,
                started_for,
                ..Sameness::default()
            };
            return Activation::Same(thread, sameness);
        }
        match place {
            Place::Deeper if only_this => Activation::Possible(thread),
            _ => Activation::Unknown,
        }
    }

    /// A goroutine waits in the runtime's poller for this socket.
    pub fn is_awaited(&self, pid: u32, inode: u64) -> bool {
        let mut threads = self.tracker.threads(pid).iter();
        threads.any(|thread| {
            thread.goroutine.is_some()
                && !matches!(thread.wait, Wait::Unknown)
                && thread.wait.socket() == Some(inode)
        })
    }

    /// How many goroutines, or virtual threads, have touched the sockets last, and how many of these wait where this one does.
    pub fn share_of(&self, thread: &Thread, histories: &[History]) -> Option<(usize, usize)> {
        let is_virtual =
            |actor: Actor| matches!(actor, Actor::Task(task) if task.is_virtual_thread);
        if thread.goroutine.is_none() && !is_virtual(thread.actor()) {
            return None;
        }
        let operations = histories
            .iter()
            .flat_map(|history| [history.used, history.eof]);
        let actors: HashSet<_> = operations
            .flatten()
            .map(|operation| operation.actor())
            .filter(|actor| matches!(actor, Actor::Goroutine(_)) || is_virtual(*actor))
            .collect();
        let living: Vec<&Thread> = actors
            .into_iter()
            .filter_map(|actor| self.threads.seen(actor))
            .collect();
        let here = living.iter().filter(|other| is_same_place(other, thread));
        (!living.is_empty()).then(|| (here.count(), living.len()))
    }
}

fn is_same_place(one: &Thread, other: &Thread) -> bool {
    let telling = |thread: &Thread| -> Vec<(Option<String>, Option<u32>)> {
        let frames = thread.stack.iter();
        frames
            .map(|frame| (frame.function.clone(), frame.line))
            .collect()
    };
    !one.stack.is_empty() && telling(one) == telling(other)
}

/// Where a goroutine is, compared with where it touched the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a call that one of the functions makes which it was in then.
    Deeper,
    /// In these functions themselves: it may be a loop that has come round.
    Loop,
    Unknown,
}

fn place(operation: LastOperation, stack: &Stack, thread: &Thread) -> Place {
    // Of a stack that is known in part only, the callers may be others.
    if thread.stack.is_empty() || stack.one_of_several || operation.sp == 0 {
        return Place::Unknown;
    }
    let slots: HashSet<(u64, u64)> = stack
        .frames_at
        .iter()
        .map(|frame| (operation.sp.wrapping_add(frame.cfa), frame.return_address))
        .collect();
    let mut present = thread.frames_at.iter();
    let innermost = present.position(|frame| slots.contains(&(frame.cfa, frame.return_address)));
    let Some(innermost) = innermost else {
        return Place::Unknown;
    };
    // What lies further in has been called since, by the innermost function that is the same.
    let first = innermost
        .checked_sub(1)
        .and_then(|before| thread.frames_at.get(before))
        .map_or(0, |before| before.frame as usize + 1);
    let deeper = thread.stack.get(..first).unwrap_or_default();
    if deeper.iter().all(is_of_waiting) {
        Place::Loop
    } else {
        Place::Deeper
    }
}

/// Functions by which Go programs wait.
fn is_of_waiting(frame: &Frame) -> bool {
    const PACKAGES: [&str; 6] = [
        "runtime.",
        "sync.",
        "internal/sync.",
        "time.",
        "internal/poll.",
        "net.(",
    ];
    let function = frame.function.as_deref().unwrap_or_default();
    PACKAGES.iter().any(|package| function.starts_with(package))
}
