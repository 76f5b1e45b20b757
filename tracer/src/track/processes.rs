//! Processes by pid and start, and what was observed of each. Every observation carries when it was made; one
//! that is older than what is asked about is unknown. A pid that passed to another process takes nothing
//! along.

use std::{collections::BTreeMap, sync::Arc};

use foldhash::{HashMap, HashSet};

use super::samples::AllSamples;
use crate::model::{
    input::{AsyncTask, Interest, LoopsWatched, Process, ProcessKey, Thread},
    listeners::{Heard, SocketListeners},
    samples::Samples,
};

/// Looks at a thread that lie further apart than this are two series: 45 s, half as long again as the longest
/// pause between two inspections.
const LONGEST_PAUSE: u64 = 45_000_000_000;
/// Processes remembered; those without a place stay unknown.
pub const KEPT: usize = 16_384;

#[derive(Clone, Debug)]
struct Dated<T> {
    at: u64,
    what: T,
}

#[derive(Debug, Default)]
struct Known {
    /// Nanoseconds of `CLOCK_BOOTTIME`; 0 when not known yet.
    start_boot: u64,
    process: Option<Arc<Process>>,
    threads: Option<Dated<Vec<Thread>>>,
    /// Its goroutines are among these threads; all of them.
    goroutines: Option<bool>,
    tasks: Option<Dated<Vec<AsyncTask>>>,
    /// By inode.
    listeners: Option<Dated<HashMap<u64, Heard>>>,
    epoll: Option<Dated<Vec<Interest>>>,
    loops_watched: Option<LoopsWatched>,
    /// When it ended, by the kernel's word.
    exited: Option<u64>,
}

/// The looks at which a thread ran, one after the other without a gap.
#[derive(Clone, Copy, Debug)]
struct Running {
    pid: u32,
    since: u64,
    last: u64,
}

#[derive(Debug, Default)]
pub struct Processes {
    by_pid: BTreeMap<u32, Known>,
    running: BTreeMap<u32, Running>,
    samples: AllSamples,
    /// When they last executed another program. What a pid's next process does is later, so nothing is taken out.
    executed: BTreeMap<u32, u64>,
    pub refused: u64,
}

impl Processes {
    /// An inventory found this process under the pid.
    pub fn seen(&mut self, key: ProcessKey) {
        if let Some(known) = self.by_pid.get(&key.pid)
            && !is_same(known.start_boot, key.start_boot)
        {
            self.forget(key.pid);
        }
        if let Some(known) = self.entry(key.pid) {
            known.start_boot = key.start_boot;
        }
    }

    pub fn learn(&mut self, process: Process) {
        // Only its name is known, and the one that was known has ended.
        let known = self.by_pid.get(&process.pid);
        if process.start_boot == 0 && known.is_some_and(|known| known.exited.is_some()) {
            self.forget(process.pid);
        }
        // /proc is coarser than the kernel's own record of the start, and may be all there is.
        let known = self.by_pid.get(&process.pid);
        let known = known.map_or(0, |known| known.start_boot);
        let start_boot = if known == 0 {
            process.start_boot
        } else {
            known
        };
        if is_same(start_boot, process.start_boot) {
            self.seen(ProcessKey {
                pid: process.pid,
                start_boot,
            });
        } else {
            self.seen(process.key());
        }
        if let Some(known) = self.by_pid.get_mut(&process.pid) {
            known.process = Some(Arc::new(process));
        }
    }

    pub fn exited(&mut self, pid: u32, at: u64) {
        if let Some(known) = self.by_pid.get_mut(&pid) {
            known.exited = Some(at);
        }
    }

    pub fn executed(&mut self, pid: u32, at: u64) {
        if self.executed.len() >= KEPT && !self.executed.contains_key(&pid) {
            let oldest = self.executed.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(pid, _)| *pid) {
                self.executed.remove(&oldest);
            }
        }
        let known = self.executed.entry(pid).or_default();
        *known = at.max(*known);
    }

    /// What it did then, another program did.
    pub fn has_executed_since(&self, pid: u32, at: u64) -> bool {
        self.executed.get(&pid).is_some_and(|moment| at < *moment)
    }

    pub fn looked_at_threads(&mut self, pid: u32, mut threads: Vec<Thread>, at: u64) {
        let runs = |tid| {
            threads
                .iter()
                .any(|thread| thread.tid == tid && thread.state == 'R')
        };
        self.running
            .retain(|tid, running| running.pid != pid || runs(*tid));
        // A goroutine that is ready to run is on no thread.
        let on_thread = |thread: &&Thread| thread.state == 'R' && thread.tid != 0;
        for thread in threads.iter().filter(on_thread) {
            let known = self.running.get(&thread.tid);
            let goes_on = known
                .filter(|known| known.pid == pid && at.saturating_sub(known.last) <= LONGEST_PAUSE);
            let since = goes_on.map_or(at, |known| known.since);
            let running = Running {
                pid,
                since,
                last: at,
            };
            self.running.insert(thread.tid, running);
        }
        self.add_samples(pid, &mut threads, at);
        if let Some(known) = self.entry(pid) {
            known.threads = Some(Dated { at, what: threads });
            known.goroutines = None;
        }
    }

    /// They ran when they were looked at last, and perhaps since.
    pub fn sampled(&mut self, pid: u32, samples: Vec<Samples>, at: u64) {
        for one in samples {
            self.samples.learn(pid, one);
        }
        let known = self.by_pid.get_mut(&pid);
        let dated = known.and_then(|known| known.threads.take());
        if let Some(mut dated) = dated {
            self.add_samples(pid, &mut dated.what, at);
            if let Some(known) = self.by_pid.get_mut(&pid) {
                known.threads = Some(dated);
            }
        }
    }

    fn add_samples(&mut self, pid: u32, threads: &mut [Thread], at: u64) {
        let running = &self.running;
        self.samples
            .retain(|of, tid| of != pid || running.contains_key(&tid));
        let runs = |thread: &&mut Thread| thread.state == 'R' && thread.goroutine.is_none();
        for thread in threads.iter_mut().filter(runs) {
            let series = running.get(&thread.tid).filter(|series| series.pid == pid);
            if let Some(series) = series {
                let lately = at.saturating_sub(LONGEST_PAUSE);
                self.samples.add(pid, thread, series.since, lately);
            }
        }
    }

    pub fn looked_at_goroutines(&mut self, pid: u32, all: bool) {
        if let Some(known) = self.entry(pid) {
            known.goroutines = Some(all);
        }
    }

    pub fn looked_at_tasks(&mut self, pid: u32, tasks: Vec<AsyncTask>, at: u64) {
        if let Some(known) = self.entry(pid) {
            known.tasks = Some(Dated { at, what: tasks });
        }
    }

    pub fn looked_at_listeners(&mut self, pid: u32, sockets: Vec<SocketListeners>, at: u64) {
        if let Some(known) = self.entry(pid) {
            let sockets = sockets.into_iter();
            let what = sockets.map(|one| (one.inode, one.heard)).collect();
            known.listeners = Some(Dated { at, what });
        }
    }

    pub fn looked_at_epolls(&mut self, pid: u32, mut interests: Vec<Interest>, at: u64) {
        interests.sort_by_key(|interest| interest.fd);
        if let Some(known) = self.entry(pid) {
            known.epoll = Some(Dated {
                at,
                what: interests,
            });
        }
    }

    pub fn watched_loops(&mut self, watched: LoopsWatched) {
        if let Some(known) = self.entry(watched.pid) {
            known.loops_watched = Some(watched);
        }
    }

    pub fn process(&self, pid: u32) -> Option<&Arc<Process>> {
        self.by_pid.get(&pid)?.process.as_ref()
    }

    /// Unless it had ended by then: whoever had the pid at that moment is another, of which nothing is known.
    pub fn process_then(&self, pid: u32, at: u64) -> Option<&Arc<Process>> {
        let known = self.by_pid.get(&pid)?;
        let had_ended = known.exited.is_some_and(|end| end < at);
        known.process.as_ref().filter(|_| !had_ended)
    }

    /// Looked at since `from`.
    pub fn threads(&self, pid: u32, from: u64) -> &[Thread] {
        let known = self.by_pid.get(&pid);
        let dated = known.and_then(|known| known.threads.as_ref());
        dated
            .filter(|dated| dated.at >= from)
            .map_or(&[], |dated| dated.what.as_slice())
    }

    /// Its goroutines were looked at since `from`; whether all.
    pub fn goroutines(&self, pid: u32, from: u64) -> Option<bool> {
        let known = self.by_pid.get(&pid)?;
        let dated = known.threads.as_ref()?;
        known.goroutines.filter(|_| dated.at >= from)
    }

    /// As they were looked at since `from`; none when they were not.
    pub fn tasks(&self, pid: u32, from: u64) -> &[AsyncTask] {
        let known = self.by_pid.get(&pid).and_then(|known| known.tasks.as_ref());
        let fresh = known.filter(|dated| dated.at >= from);
        fresh.map_or(&[], |dated| dated.what.as_slice())
    }

    /// Who listens to the socket, as it was looked at since `from`.
    pub fn listeners(&self, pid: u32, inode: u64, from: u64) -> Option<&Heard> {
        let known = self.by_pid.get(&pid)?.listeners.as_ref()?;
        known.what.get(&inode).filter(|_| known.at >= from)
    }

    /// Those whose threads were looked at since `from`.
    pub fn threaded(&self, from: u64) -> impl Iterator<Item = u32> {
        let fresh = move |known: &Known| known.threads.as_ref().is_some_and(|d| d.at >= from);
        let known = self.by_pid.iter();
        known.filter_map(move |(pid, known)| fresh(known).then_some(*pid))
    }

    /// What the epoll sets of all processes watch that were looked at since `from`.
    pub fn interests(&self, from: u64) -> impl Iterator<Item = (u32, Interest)> {
        self.by_pid.keys().flat_map(move |pid| {
            let interests = self.epoll(*pid, from).unwrap_or_default();
            interests.iter().map(move |interest| (*pid, *interest))
        })
    }

    pub fn epoll(&self, pid: u32, from: u64) -> Option<&[Interest]> {
        let dated = self.by_pid.get(&pid)?.epoll.as_ref()?;
        (dated.at >= from).then_some(dated.what.as_slice())
    }

    /// The last time that it was seen what its event loops do with their sockets.
    pub fn loops_watched(&self, pid: u32) -> Option<LoopsWatched> {
        self.by_pid.get(&pid)?.loops_watched
    }

    /// The first look of the series that lasts until `from` or later.
    pub fn running_since(&self, tid: u32, from: u64) -> Option<u64> {
        let running = self.running.get(&tid)?;
        (running.last >= from).then_some(running.since)
    }

    /// Keeps those that somebody still asks about.
    pub fn sweep(&mut self, asked: &HashSet<u32>, now: u64) {
        let gone = |(pid, known): (&u32, &Known)| {
            (known.exited.is_some() || !asked.contains(pid)).then_some(*pid)
        };
        let gone: Vec<u32> = self.by_pid.iter().filter_map(gone).collect();
        for pid in gone {
            self.by_pid.remove(&pid);
        }
        self.running.retain(|_, running| {
            self.by_pid.contains_key(&running.pid)
                && now.saturating_sub(running.last) <= LONGEST_PAUSE
        });
        let running = &self.running;
        self.samples.retain(|_, tid| running.contains_key(&tid));
    }

    pub fn len(&self) -> usize {
        self.by_pid.len() + self.running.len() + self.samples.len()
    }

    fn forget(&mut self, pid: u32) {
        self.by_pid.remove(&pid);
        self.running.retain(|_, running| running.pid != pid);
        self.samples.retain(|of, _| of != pid);
    }

    fn entry(&mut self, pid: u32) -> Option<&mut Known> {
        if !self.by_pid.contains_key(&pid) && self.by_pid.len() >= KEPT {
            self.refused += 1;
            return None;
        }
        Some(self.by_pid.entry(pid).or_default())
    }
}

/// Two starts of one process: /proc tells hundredths of a second, and either may be unknown.
fn is_same(one: u64, other: u64) -> bool {
    const HUNDREDTH: u64 = 10_000_000;
    one == 0 || other == 0 || one / HUNDREDTH == other / HUNDREDTH
}
