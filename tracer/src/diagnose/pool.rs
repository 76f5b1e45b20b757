//! Pools of worker threads: threads of one process whose names differ by a number at most. Is every one of
//! them blocked in something that is not waiting for work?

use std::collections::BTreeMap;

use tracer_common::state::ESTABLISHED;

use super::{Blamer, context::ReportContext};
use crate::{
    model::{
        input::{Connection, Thread},
        stack::Frame,
    },
    track::Tracker,
};

/// A pool of which no thread is left to serve anything.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    /// What the names of its threads have in common.
    pub stem: String,
    /// Those in the system call that most of them are in; first those at the most common place.
    pub blocked: Vec<&'a Thread>,
    /// All of its threads.
    pub size: usize,
}

const WRITES: &[&str] = &["write", "writev", "sendto", "sendmsg", "sendfile"];
const READS: &[&str] = &["read", "readv", "recvfrom", "recvmsg"];
/// Whoever is in one of these is busy with the work it has.
const BUSY: &[&str] = &[
    "connect",
    "fsync",
    "nanosleep",
    "clock_nanosleep",
    "wait4",
    "waitid",
];
const LOCKS: &[&str] = &["futex", "futex_waitv"];
/// How methods of java.util.concurrent.locks end that wait for a lock.
const TAKES_LOCK: &[&str] = &[".lock", ".lockInterruptibly"];
const ACCEPTS: &[&str] = &["accept", "accept4"];

pub fn writes(thread: &Thread) -> bool {
    is_in(thread, WRITES)
}

fn is_in(thread: &Thread, calls: &[&str]) -> bool {
    thread
        .syscall
        .as_deref()
        .is_some_and(|name| calls.contains(&name))
}

/// The connection behind the descriptor a thread is blocked on.
pub fn connection<'a>(tracker: &'a Tracker, thread: &Thread) -> Option<&'a Connection> {
    let inode = thread.socket?;
    tracker
        .connections()
        .iter()
        .find(|connection| connection.inode == inode)
}

/// Is it blocked in work, rather than waiting for some? A write to somebody who does not read; a read
/// from somebody the process itself has asked; sleep, disk, a child; a lock, inside the function that
/// touched a connection last or, where the runtime names its own frames, inside the program's.
pub fn is_busy(
    tracker: &Tracker,
    context: &ReportContext<'_>,
    blamer: Blamer<'_>,
    thread: &Thread,
) -> bool {
    if writes(thread) {
        return connection(tracker, thread).is_none_or(|connection| connection.send_q > 0);
    }
    if is_in(thread, READS) {
        return connection(tracker, thread).is_some_and(|connection| {
            connection.state == ESTABLISHED
                && connection.recv_q == 0
                && context.is_connected(connection.cookie)
        });
    }
    if is_in(thread, LOCKS) {
        return is_locked_out(thread, blamer)
            || is_at_last_operation(tracker, context, blamer, thread);
    }
    is_in(thread, BUSY)
}

/// Is it a worker for clients? Threads that flush, ship logs or consume a queue are blocked just like that when
/// all is well. Known by what it has touched; without history, by the listener its connection came through.
fn serves(tracker: &Tracker, context: &ReportContext<'_>, thread: &Thread) -> bool {
    context.has_served(thread.tid)
        || connection(tracker, thread).is_some_and(|connection| {
            context.is_accepted(connection.cookie)
                || !context.is_connected(connection.cookie)
                    && tracker.listens_on(connection.endpoints.local)
        })
}

/// By a dump of its runtime it waits for a lock: in its own code at the entry of a monitor, or in a call
/// that takes one. All other waiting may be for a job, or for a while.
fn is_locked_out(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let mut dumped = thread
        .stack
        .iter()
        .enumerate()
        .filter(|(_, frame)| is_dumped(frame));
    let innermost = dumped.next().map(|(place, _)| place);
    let takes = |frame: &Frame| {
        frame.function.as_deref().is_some_and(|name| {
            name.starts_with("java.util.concurrent.locks.")
                && TAKES_LOCK.iter().any(|end| name.ends_with(end))
        })
    };
    let at_monitor = innermost.is_some() && blamer(&thread.stack) == innermost;
    at_monitor || dumped.any(|(_, frame)| takes(frame))
}

pub fn is_dumped(frame: &Frame) -> bool {
    frame.module.as_deref() == Some("[java]")
}

fn is_at_last_operation(
    tracker: &Tracker,
    context: &ReportContext<'_>,
    blamer: Blamer<'_>,
    thread: &Thread,
) -> bool {
    let used_sockets = || {
        let (_, operation) = context.newest_of(thread.tid)?;
        let frames = &tracker.stack(operation.stack)?.frames;
        frames.get(blamer(frames)?)
    };
    used_sockets().is_some_and(|blamed| {
        blamed.function.is_some() && thread.stack.iter().any(|frame| frame.is_same_code(blamed))
    })
}

/// The largest pool of the process all of whose threads are busy. Threads without a name of their own have
/// the program's, as the main thread has, which is of no pool; then one idle thread of any purpose keeps
/// the pool from being called starving.
pub fn starving<'a>(
    tracker: &'a Tracker,
    pid: u32,
    context: &ReportContext<'_>,
    blamer: Blamer<'_>,
) -> Option<Pool<'a>> {
    let mut pools: BTreeMap<String, Vec<&Thread>> = BTreeMap::new();
    for thread in tracker.threads(pid) {
        if thread.tid == pid || context.has_accepted(thread.tid) || is_in(thread, ACCEPTS) {
            continue;
        }
        let stem = stem(thread.name.as_deref().unwrap_or(&thread.comm));
        pools.entry(stem).or_default().push(thread);
    }
    let busy = |threads: &&Vec<&Thread>| {
        threads.iter().all(|thread| {
            serves(tracker, context, thread) && is_busy(tracker, context, blamer, thread)
        })
    };
    let is_pool = |threads: &&Vec<&Thread>| match threads.as_slice() {
        [only] => writes(only),
        more => more.len() > 1,
    };
    let (stem, threads) = pools
        .iter()
        .filter(|(_, threads)| is_pool(threads) && busy(threads))
        .max_by_key(|(_, threads)| threads.len())?;
    Some(Pool {
        stem: stem.clone(),
        blocked: crowd(threads),
        size: threads.len(),
    })
}

/// The threads in the call that most of them are in; first those at the place in the program that most of
/// them are at, the longest blocked before the others.
fn crowd<'a>(threads: &[&'a Thread]) -> Vec<&'a Thread> {
    let place = |thread: &&'a Thread| {
        let frame = |frame: &'a Frame| (&frame.module, &frame.function, frame.offset);
        let frames: Vec<_> = thread.stack.iter().map(frame).collect();
        (!frames.is_empty(), frames)
    };
    let mut most = largest(threads, |thread| thread.syscall.as_deref());
    let together: Vec<u32> = largest(&most, place)
        .iter()
        .map(|thread| thread.tid)
        .collect();
    most.sort_by_key(|thread| {
        let elsewhere = !together.contains(&thread.tid);
        (elsewhere, thread.since.unwrap_or(u64::MAX), thread.tid)
    });
    most
}

/// The largest group of those that are alike.
fn largest<'a, K: Ord>(
    threads: &[&'a Thread],
    alike: impl Fn(&&'a Thread) -> K,
) -> Vec<&'a Thread> {
    let mut groups: BTreeMap<K, Vec<&'a Thread>> = BTreeMap::new();
    for thread in threads {
        groups.entry(alike(thread)).or_default().push(thread);
    }
    groups
        .into_values()
        .max_by_key(Vec::len)
        .unwrap_or_default()
}

/// `pool-1-thread-3` is of `pool-1-thread-`; what has no number is of itself.
fn stem(name: &str) -> String {
    name.trim_end_matches(|c: char| c.is_ascii_digit())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_end_do_not_tell_pools_apart() {
        assert_eq!(stem("pool-1-thread-3"), "pool-1-thread-");
        assert_eq!(stem("worker"), "worker");
    }
}
