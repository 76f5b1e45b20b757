//! Pools of worker threads by what their threads do: who is idle, who is busy, and whether anybody is left to
//! serve. Many threads in one wait prove nothing: that is what an exhausted connection pool looks like.

use std::collections::BTreeMap;

use super::{ReportContext, activations::Activation, idle, locks, waits::WaitsFor};
use crate::model::{actor::Actor, input::Thread, stack::Frame, wait::Wait};

/// A pool of which no thread is left to serve anything.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    pub pid: u32,
    /// What the names of its threads have in common.
    pub stem: String,
    /// Its busy threads, first those at the most common place, the longest blocked before the others.
    pub busy: Vec<&'a Thread>,
    /// All of its threads.
    pub size: usize,
    /// What each is busy with is a fact of this moment, not only its place.
    pub sure: bool,
    /// Not stuck for as long as a connection has to be: they may only be slow.
    pub goes_on: bool,
    /// They touch no client: since then another thread reads the requests for them.
    pub handed_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worker {
    Idle,
    /// With a fact of this moment: whom or what it waits for, or the frames of its runtime.
    Busy,
    /// In the functions that touched a client last.
    Probably,
    Unknown,
}

/// Whether connections may wait for a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    /// It is free, or none of its code is the program's.
    No,
    /// It waits for something that may be new work, or what keeps it from that.
    Possible,
    /// It is busy, or serves connections.
    Likely,
}

impl<'a> ReportContext<'a> {
    /// The largest pool of each process all of whose threads are busy.
    pub(super) fn starving_pools(&self) -> BTreeMap<u32, Pool<'a>> {
        let pids = self.tracker.threaded();
        pids.filter_map(|pid| Some((pid, self.starving(pid)?)))
            .collect()
    }

    fn starving(&self, pid: u32) -> Option<Pool<'a>> {
        let mut pools: BTreeMap<(String, String), Vec<&'a Thread>> = BTreeMap::new();
        for thread in self.tracker.threads(pid) {
            let accepts = self.threads.has_accepted(thread.actor())
                || matches!(self.waits.of(thread), WaitsFor::NewConnections);
            // A goroutine for each connection is no pool: there is no queue before them.
            if thread.tid == pid || thread.goroutine.is_some() || accepts {
                continue;
            }
            let kind = (stem_of(thread), start(thread, self.blamer));
            pools.entry(kind).or_default().push(thread);
        }
        let pools = with_unknown(pools)
            .into_iter()
            .filter_map(|((stem, _), threads)| self.all_busy(pid, stem, &threads));
        pools.max_by_key(|pool| pool.size)
    }

    fn all_busy(&self, pid: u32, stem: String, threads: &[&'a Thread]) -> Option<Pool<'a>> {
        let workers: Vec<Worker> = threads.iter().map(|thread| self.worker(thread)).collect();
        let busy = |worker: &Worker| matches!(worker, Worker::Busy | Worker::Probably);
        // Threads that flush, ship logs or consume a queue are blocked just like that when all is well.
        // Those that a server's code has called at a request are of a pool that serves, when others of it do.
        let serves = threads
            .iter()
            .all(|thread| self.serves(thread) || self.is_called(thread));
        let serves = serves && threads.iter().any(|thread| self.serves(thread));
        if !workers.iter().all(busy) {
            return None;
        }
        let handed_since = if serves {
            None
        } else {
            Some(self.handed_since(pid, threads)?)
        };
        Some(Pool {
            pid,
            stem,
            busy: self.crowd(threads),
            size: threads.len(),
            sure: workers.iter().all(|worker| *worker == Worker::Busy),
            goes_on: self.goes_on(threads),
            handed_since,
        })
    }

    /// One of them has touched a client, or all have begun to wait, since the threshold. A wait that looks again from time to
    /// time begins as often.
    fn goes_on(&self, threads: &[&'a Thread]) -> bool {
        let min_age = self.tracker.run_header().map_or(0, |run| run.min_age_ns);
        let is_new = |at: u64| self.tracker.now().saturating_sub(at) < min_age;
        let looks_again =
            |thread: &Thread| matches!(&thread.wait, Wait::Poll(polled) if polled.times_out);
        let touched = |thread: &&'a Thread| {
            let touches = self.threads.touches(thread.actor()).iter();
            let mut clients = touches.filter(|touch| !self.threads.is_connected(touch.cookie));
            clients.any(|touch| is_new(touch.operation.at))
        };
        let begun = |thread: &&'a Thread| thread.since.is_some_and(is_new) && !looks_again(thread);
        threads.iter().any(touched) || threads.iter().all(begun)
    }

    /// First those at the place in the program that most of them are at, the longest blocked before the others, and of
    /// those that run who is known to compute.
    fn crowd(&self, threads: &[&'a Thread]) -> Vec<&'a Thread> {
        let place = |thread: &&'a Thread| {
            // What is sampled is in many places of one function.
            let offset = |frame: &Frame| thread.sampled.map_or(frame.offset, |_| 0);
            let frame = |frame: &'a Frame| (&frame.module, &frame.function, offset(frame));
            let frames: Vec<_> = thread.stack.iter().map(frame).collect();
            (!frames.is_empty(), frames)
        };
        let mut groups: BTreeMap<_, Vec<Actor>> = BTreeMap::new();
        for thread in threads {
            groups
                .entry(place(thread))
                .or_default()
                .push(thread.actor());
        }
        let together = groups
            .into_values()
            .max_by_key(Vec::len)
            .unwrap_or_default();
        let mut all = threads.to_vec();
        all.sort_by_key(|thread| {
            let elsewhere = !together.contains(&thread.actor());
            let since = thread.since.unwrap_or(u64::MAX);
            let runs = self.waits.computes(thread).is_none();
            (elsewhere, since, runs, thread.actor())
        });
        all
    }

    pub fn worker(&self, thread: &'a Thread) -> Worker {
        let waits = self.waits.of(thread);
        if matches!(waits, WaitsFor::NewConnections) || self.is_idle(thread) {
            return Worker::Idle;
        }
        // A client that sends nothing keeps its worker as well as anything else does.
        let of_work = waits.is_of_work() && !matches!(waits, WaitsFor::Time)
            || matches!(waits, WaitsFor::ClientSends(_));
        if of_work
            || idle::is_at_work(thread, self.blamer)
            || locks::is_locked_out(thread, self.blamer)
        {
            return Worker::Busy;
        }
        match self.newest_activation(thread) {
            Some(Activation::Same(..)) => Worker::Busy,
            _ if self.is_called(thread) => Worker::Probably,
            Some(Activation::Possible(_) | Activation::Began(_) | Activation::AtOnce(_)) => {
                Worker::Probably
            }
            Some(Activation::Over(_)) => Worker::Idle,
            _ if matches!(waits, WaitsFor::Time) => Worker::Busy,
            _ => Worker::Unknown,
        }
    }

    /// Does the call still run that touched a client last?
    fn newest_activation(&self, thread: &'a Thread) -> Option<Activation<'a>> {
        let touches = self.threads.touches(thread.actor()).iter().rev();
        let mut clients = touches.filter(|touch| !self.threads.is_connected(touch.cookie));
        let newest = clients.next()?;
        Some(self.activation(newest.cookie, *newest.operation, false))
    }

    /// Is it a worker for clients? Known by what it has touched; without history, by the listener its connection
    /// came through.
    fn serves(&self, thread: &'a Thread) -> bool {
        let waits = self.waits.of(thread);
        let client = match waits {
            WaitsFor::ClientSends(_) => true,
            WaitsFor::PeerReads(connection) => !self.waits.is_upstream(connection.cookie),
            _ => false,
        };
        client || self.threads.has_served(thread.actor())
    }

    /// The pool of the process that has no thread left to serve anything.
    pub fn pool_of(&self, pid: u32) -> Option<&Pool<'a>> {
        self.pools.get(&pid)
    }

    /// May a connection that was handed over lie in a queue before this thread?
    pub fn queue_before(&self, thread: &'a Thread) -> Queue {
        let waits = self.waits.of(thread);
        let touches = !self.threads.touches(thread.actor()).is_empty();
        match self.worker(thread) {
            Worker::Idle => Queue::No,
            _ if self.serves(thread) || touches || waits.is_of_work() => Queue::Likely,
            _ if idle::is_at_work(thread, self.blamer) || self.is_called(thread) => Queue::Likely,
            _ if thread.stack.iter().any(|frame| self.is_own(frame)) => Queue::Possible,
            // What it did in other moments than most of those that were sampled is not known.
            _ if thread.stack.is_empty() || thread.sampled.is_some() => Queue::Possible,
            _ => Queue::No,
        }
    }

    /// By the known frames of its runtime, it executes a piece of work that is the program's own.
    pub fn is_at_work(&self, thread: &Thread) -> bool {
        idle::is_at_work(thread, self.blamer)
    }

    /// What threads of one pool have in common: their names, and the function of the program that they began with.
    pub fn kind(&self, thread: &Thread) -> Option<(String, String)> {
        let start = start(thread, self.blamer);
        (!start.is_empty()).then(|| (stem_of(thread), start))
    }

    /// One of several in one place of the program's code, each called by the code of a server.
    pub fn is_called(&self, thread: &Thread) -> bool {
        self.places.of(thread).threads > 1 && idle::is_called_by_server(thread, self.blamer)
    }

    /// By the known frames of its runtime, or of a loop around a queue, it waits for work.
    pub fn is_idle(&self, thread: &Thread) -> bool {
        idle::is_idle(thread, self.blamer)
            || idle::takes_jobs(thread, self.blamer) && !self.places.of(thread).is_one_each()
    }
}

type Kind = (String, String);

/// Of a thread that runs and was not sampled it is not known what it began with: it may be one of the only pool with
/// its name.
fn with_unknown(mut pools: BTreeMap<Kind, Vec<&Thread>>) -> BTreeMap<Kind, Vec<&Thread>> {
    let runs = |thread: &&Thread| thread.state == 'R' && thread.stack.is_empty();
    let unknown = pools
        .iter()
        .filter(|((_, start), threads)| start.is_empty() && threads.iter().all(runs));
    let unknown: Vec<Kind> = unknown.map(|(kind, _)| kind.clone()).collect();
    for kind in unknown {
        let mut mates = pools
            .keys()
            .filter(|other| other.0 == kind.0 && !other.1.is_empty());
        let mate = mates.next().filter(|_| mates.next().is_none()).cloned();
        if let Some(mate) = mate
            && let Some(threads) = pools.remove(&kind)
        {
            pools.entry(mate).or_default().extend(threads);
        }
    }
    pools
}

/// The function of the program that the thread began with.
fn start(thread: &Thread, blamer: super::Blamer<'_>) -> String {
    let own = (0..thread.stack.len()).rev().find(|at| {
        let one = thread.stack.get(*at..=*at).unwrap_or_default();
        blamer(one).is_some()
    });
    let frame = own.and_then(|at| thread.stack.get(at));
    frame
        .and_then(|frame| frame.function.clone())
        .unwrap_or_default()
}

/// As threads of one pool are.
pub fn are_named_alike(one: &Thread, other: &Thread) -> bool {
    stem_of(one) == stem_of(other)
}

fn stem_of(thread: &Thread) -> String {
    stem(thread.name.as_deref().unwrap_or(&thread.comm))
}

/// `pool-1-thread-3` is of `pool-1-thread-`; what has no number is of itself, and Ruby's `server.rb:14` of that line.
fn stem(name: &str) -> String {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_place = stem.ends_with(':') && stem.contains('.');
    if is_place { name } else { stem }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_end_do_not_tell_pools_apart() {
        assert_eq!(stem("pool-1-thread-3"), "pool-1-thread-");
        assert_eq!(stem("worker"), "worker");
        assert_eq!(stem("server.rb:14"), "server.rb:14");
    }
}
