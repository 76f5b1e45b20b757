//! Does a virtual thread still serve a connection? Each is known by its own number, so what it waits in now is what it waits
//! in; whether it is still at the same piece of work, its stack and what else it has touched must show.

use foldhash::{HashMap, HashSet};

use super::{
    ReportContext,
    activations::{Activation, Over, Sameness},
    threads::{Threads, operations},
    waits::WaitsFor,
};
use crate::model::{
    actor::Actor,
    input::Thread,
    socket::{History, LastOperation},
    stack::{Frame, Stack, Step, path},
};

/// Below this an executor runs a piece of work for which it has started the thread.
const OWN_TASK: &str = "java.util.concurrent.ThreadPerTaskExecutor$TaskRunner.run";

/// So many connections at least, or threads that have one each and wait there as well: one or two threads that wait for work
/// look the same.
const SEVERAL: usize = 3;

/// Several at one place of which it is not known which connection each has.
#[derive(Clone, Copy, Debug)]
pub struct Crowd<'a> {
    pub thread: &'a Thread,
    pub waiting: usize,
    pub connections: usize,
}

/// The only server that each has asked: for which descriptor it will be woken up its runtime does not tell.
pub(super) fn asked(threads: &Threads<'_>, upstreams: &HashSet<u64>) -> HashMap<Actor, u64> {
    let mut asked: HashMap<Actor, Option<u64>> = HashMap::default();
    for (cookie, history) in threads.histories() {
        let by = [history.opened, history.used].into_iter().flatten();
        let by = by.filter(|operation| operation.virtual_thread.is_some());
        for operation in by.filter(|_| upstreams.contains(&cookie)) {
            let only = asked.entry(operation.actor()).or_insert(Some(cookie));
            *only = only.filter(|only| *only == cookie);
        }
    }
    let only = asked.into_iter();
    only.filter_map(|(actor, only)| Some((actor, only?)))
        .collect()
}

impl<'a> ReportContext<'a> {
    /// What became of the call of the one that touched it last.
    pub fn virtual_thread_activation(
        &self,
        cookie: u64,
        operation: LastOperation,
    ) -> Activation<'a> {
        let actor = operation.actor();
        // It has ended, or something carries it, or it could not be read.
        let Some(thread) = self.threads.seen(actor) else {
            return Activation::Unknown;
        };
        if self.threads.went_on(actor, cookie, operation.at).is_some() {
            return Activation::Over(Over::WentOn);
        }
        let waits = self.waits.of(thread);
        match waits {
            WaitsFor::NewConnections => return Activation::Over(Over::Idle),
            WaitsFor::ClientSends(_) | WaitsFor::Unknown => return Activation::Unknown,
            _ => {}
        }
        let asked = match waits {
            WaitsFor::Upstream(connection) => self.asked_since(connection, operation),
            _ => None,
        };
        if asked.is_none() && self.left_behind(cookie, operation) {
            return Activation::Over(Over::LeftBehind);
        }
        let mut touched = self.threads.touches(actor).iter();
        let only_this =
            touched.all(|touch| touch.cookie == cookie || self.threads.is_connected(touch.cookie));
        let stack = self.tracker.stack(operation.stack);
        let frames = stack.is_some_and(|stack| self.is_still_in(stack, thread));
        let is_task = |frame: &Frame| frame.function.as_deref() == Some(OWN_TASK);
        let own_task = thread.stack.iter().any(is_task);
        if asked.is_some() || only_this && frames && waits.may_be_of_work() {
            let sameness = Sameness {
                frames,
                asked,
                own_goroutine: only_this,
                own_task: only_this && frames && own_task,
                ..Sameness::default()
            };
            return Activation::Same(thread, sameness);
        }
        // Where the calls were not all known then, it is at least the task that the thread was started for.
        let cut_short = stack.is_none_or(|stack| stack.truncated || stack.one_of_several);
        let likely = cut_short && own_task && waits.may_be_of_work();
        if (frames || likely) && only_this {
            Activation::Possible(thread)
        } else {
            Activation::Unknown
        }
    }

    /// Where most of those wait that are known to have no connection, if they are as many as there are connections of the
    /// process of which it is not known who has them.
    pub(super) fn virtual_crowd(&self, pid: u32) -> Option<Crowd<'a>> {
        let tasks = self.tracker.tasks(pid).iter().map(|task| &task.thread);
        let is_virtual = |thread: &&Thread| thread.task.is_some_and(|task| task.is_virtual_thread);
        let (free, serving): (Vec<_>, Vec<_>) = tasks
            .filter(is_virtual)
            .partition(|thread| self.threads.touches(thread.actor()).is_empty());
        let mut places: HashMap<Vec<Step<'_>>, Crowd<'a>> = HashMap::default();
        for thread in free {
            let crowd = places.entry(path(&thread.stack)).or_insert(Crowd {
                thread,
                waiting: 0,
                connections: 0,
            });
            crowd.waiting += 1;
        }
        let all: usize = places.values().map(|crowd| crowd.waiting).sum();
        let largest = places.into_values().max_by_key(|crowd| crowd.waiting)?;
        let is_unknown = |history: History| {
            let mut operations = operations(&history);
            operations.all(|operation| operation.virtual_thread.is_none())
        };
        let connections = self
            .tracker
            .sockets()
            .filter(|socket| socket.holders.iter().any(|holder| holder.pid == pid))
            .filter(|socket| is_unknown(*socket.history))
            .count();
        // Those elsewhere cannot have all of them; a few may have none, and wait for work.
        let as_many = largest.waiting >= connections && all - largest.waiting < connections;
        let is_kept = self.waits.of(largest.thread).may_be_of_work();
        let place = path(&largest.thread.stack);
        let mates = serving.iter().filter(|thread| path(&thread.stack) == place);
        let are_several = connections >= SEVERAL || mates.count() >= SEVERAL;
        (as_many
            && is_kept
            && connections > 0
            && are_several
            && self.blame(&largest.thread.stack).is_some())
        .then_some(Crowd {
            connections,
            ..largest
        })
    }

    /// Carried by any thread, whose own calls tell nothing then.
    pub fn is_of_unknown_virtual_thread(&self, operation: LastOperation) -> bool {
        let mut tasks = self.tracker.tasks(operation.pid).iter();
        let frames = self
            .tracker
            .stack(operation.stack)
            .map(|stack| &stack.frames);
        operation.virtual_thread.is_none()
            && tasks.any(|task| task.thread.task.is_some_and(|task| task.is_virtual_thread))
            && !frames.is_some_and(|frames| frames.iter().any(Frame::is_managed))
    }

    /// Whether one of the program's functions that were running then still is: counted from outside, calls are the same up to
    /// one in which the function has gone on to another line.
    fn is_still_in(&self, stack: &Stack, thread: &Thread) -> bool {
        if stack.one_of_several {
            return false;
        }
        let then = stack.frames.iter().rev().filter(|frame| frame.is_managed());
        let now = thread.stack.iter().rev();
        let mut shared: Vec<Frame> = Vec::new();
        for (then, now) in then.zip(now) {
            if then.function != now.function || then.function.is_none() {
                break;
            }
            shared.push(now.clone());
            if then.line != now.line {
                break;
            }
        }
        shared.reverse();
        self.blame(&shared).is_some()
    }
}
