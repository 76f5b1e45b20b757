//! What the threads of processes wait in now, and since when, without stopping them: registers and
//! times from the kernel's iterator over tasks, stack bytes from /proc/PID/mem. A stack is believed only
//! when the thread has not run while it was read. Without the iterator: `outside`.

mod outside;

use std::{
    collections::{BTreeSet, HashMap},
    fs::File,
    os::unix::fs::FileExt,
};

use super::{
    goroutines::{self, Standing},
    stacks::PAGE,
    wait::{self, Budget, Place, lock::Mutex},
    wire::comm,
};
use crate::{
    model::{
        actor::Goroutine,
        input::{Process, Thread},
        stack::{Frame, FrameAddress},
        wait::Wait,
    },
    probe::{
        host::{boot_now_ns, mono_now_ns},
        threads::{KernelEntry, SeenThread},
    },
    symbolize::{Noted, StackCopy, Symbolizer},
};

/// Threads looked at per process.
const MAX_THREADS: usize = 1024;
/// Stacks read of a process, the asked-for ones first, then those of threads that are in the middle of
/// something; and of all processes at one look, 16 KiB each.
const MAX_STACKS: usize = 480;
const MAX_ALL_STACKS: usize = 2048;
const STACK_BYTES: usize = 16 * 1024;

/// Looks at all threads of some processes; `None` where the kernel does not show them.
pub type Look<'l> = dyn FnMut(&[u32]) -> Option<Vec<SeenThread>> + 'l;

/// The threads of a process.
pub struct Seen {
    pub threads: Vec<Thread>,
    /// They are goroutines, where it is a Go program; whether all.
    pub goroutines: Option<bool>,
}

/// Of whom it matters most what they wait in: their stacks are read first.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub threads: &'a BTreeSet<u32>,
    pub goroutines: &'a BTreeSet<Goroutine>,
}

/// The threads of each process, with what they wait in.
pub fn read(
    processes: &[Process],
    asked: Asked<'_>,
    look: &mut Look<'_>,
    symbolizer: &mut Symbolizer,
) -> Vec<Seen> {
    let goroutines = asked.goroutines;
    let asked = asked.threads;
    let pids: Vec<u32> = processes.iter().map(|process| process.pid).collect();
    let seen = look(&pids).unwrap_or_default();
    let mut left = MAX_ALL_STACKS;
    let caught: Vec<(Option<File>, Vec<Caught>)> = processes
        .iter()
        .map(|process| {
            let memory = File::open(format!("/proc/{}/mem", process.pid)).ok();
            let caught = catch(process, &seen, asked, memory.as_ref(), &mut left);
            (memory, caught)
        })
        .collect();
    let switches = look_again(look, &pids);
    let mut named: Vec<Vec<Thread>> = processes
        .iter()
        .zip(&caught)
        .map(|(process, (memory, caught))| {
            let named = |one: &Caught| one.named(process, memory.as_ref(), &switches, symbolizer);
            caught.iter().map(named).collect()
        })
        .collect();
    // What a runtime's own structures told was read after all that.
    let managed = |threads: &Vec<Thread>| threads.iter().any(is_managed);
    if named.iter().any(managed) {
        let switches = look_again(look, &pids);
        for ((process, (_, caught)), named) in processes.iter().zip(&caught).zip(&mut named) {
            for (one, thread) in caught.iter().zip(named) {
                if is_managed(thread) && switches.get(&thread.tid) != Some(&one.seen.switches) {
                    (thread.stack, thread.frames_at) = one.native(process, symbolizer);
                }
            }
        }
    }
    for (process, threads) in processes.iter().zip(&mut named) {
        // No iterator, or in a pid namespace, where it has other numbers than /proc.
        if threads.is_empty() {
            *threads = outside::read(process, asked, symbolizer);
        }
        threads.sort_by_key(|thread| thread.tid);
    }
    let mut found = Vec::new();
    for ((process, (_, caught)), mut threads) in processes.iter().zip(&caught).zip(named) {
        let standing: Vec<Standing> = caught.iter().filter_map(Caught::standing).collect();
        let goroutines = goroutines::read(process, &standing, goroutines, &mut threads, symbolizer);
        found.push(Seen {
            threads,
            goroutines,
        });
    }
    forget_moved(
        &mut found,
        &caught,
        &mut |pids| look_again(look, pids),
        &pids,
    );
    found
}

/// Which goroutine a thread is on was read last: what was read of the thread holds for that one if it has not run since.
fn forget_moved(
    found: &mut [Seen],
    caught: &[(Option<File>, Vec<Caught>)],
    again: &mut dyn FnMut(&[u32]) -> HashMap<u32, u64>,
    pids: &[u32],
) {
    let on_thread = |thread: &Thread| thread.goroutine.is_some() && thread.tid != 0;
    if !found.iter().any(|seen| seen.threads.iter().any(on_thread)) {
        return;
    }
    let switches = again(pids);
    for (seen, (_, caught)) in found.iter_mut().zip(caught) {
        let before: HashMap<u32, u64> = caught
            .iter()
            .map(|one| (one.seen.tid, one.seen.switches))
            .collect();
        let moved = |thread: &Thread| switches.get(&thread.tid) != before.get(&thread.tid);
        for thread in seen.threads.iter_mut().filter(|thread| on_thread(thread)) {
            if moved(thread) {
                (thread.stack, thread.frames_at) = Frames::default();
                (thread.wait, thread.state, thread.socket) = (Wait::Running, 'R', None);
            }
        }
    }
}

/// By thread: who has not left a CPU since the first look, and is on none now, has not run.
fn look_again(look: &mut Look<'_>, pids: &[u32]) -> HashMap<u32, u64> {
    let again = look(pids).unwrap_or_default();
    let still = again.iter().filter(|thread| thread.still);
    still.map(|thread| (thread.tid, thread.switches)).collect()
}

fn is_managed(thread: &Thread) -> bool {
    thread.stack.iter().any(Frame::is_managed)
}

/// A thread as it was at the first look, and what was read of it since, which may be torn.
struct Caught {
    seen: SeenThread,
    entry: Option<KernelEntry>,
    call: Option<&'static str>,
    wait: Wait,
    mutex: Option<Mutex>,
    stack: Option<Vec<u8>>,
}

fn catch(
    process: &Process,
    seen: &[SeenThread],
    asked: &BTreeSet<u32>,
    memory: Option<&File>,
    left: &mut usize,
) -> Vec<Caught> {
    let mut budget = Budget::default();
    let caught = seen
        .iter()
        .filter(|thread| is_of(thread, process))
        .take(MAX_THREADS)
        .map(|thread| {
            // Before 5.15 the iterator cannot reach the registers.
            let known = || outside::blocked_in(process.pid, thread.tid);
            let entry = thread.entry.or_else(known).filter(|_| thread.still);
            let place = Place {
                pid: process.pid,
                tid: thread.tid,
                state: if process.frozen { 'T' } else { thread.state },
                memory,
            };
            let (call, wait) = wait::of(place, entry.as_ref(), &mut budget);
            Caught {
                seen: thread.clone(),
                entry,
                call,
                mutex: mutex(&wait, memory),
                wait,
                stack: None,
            }
        });
    let mut caught: Vec<Caught> = caught.collect();
    let mut first: Vec<&mut Caught> = caught.iter_mut().collect();
    first.sort_by_key(|one| (!asked.contains(&one.seen.tid), !is_at_work(&one.wait)));
    for one in first.into_iter().take(MAX_STACKS.min(*left)) {
        if let Some(entry) = one.entry {
            one.stack = Some(stack_bytes(memory, entry.sp));
            *left -= 1;
        }
    }
    caught
}

/// Rather than waiting for some.
fn is_at_work(wait: &Wait) -> bool {
    matches!(
        wait,
        Wait::Receive(_)
            | Wait::Send(_)
            | Wait::Connect(_)
            | Wait::Poll(_)
            | Wait::Lock { .. }
            | Wait::Sleep
            | Wait::Disk
            | Wait::Child
    )
}

fn mutex(wait: &Wait, memory: Option<&File>) -> Option<Mutex> {
    match wait {
        Wait::Futex { address } => Mutex::read(memory, *address),
        _ => None,
    }
}

/// Another process may have got the number since. /proc rounds start times to ticks.
/// By `CLOCK_MONOTONIC`: all suspensions until now are taken to have come after it began.
fn began(boot: u64) -> u64 {
    let suspended = boot_now_ns().saturating_sub(mono_now_ns());
    boot.saturating_sub(suspended)
}

fn is_of(thread: &SeenThread, process: &Process) -> bool {
    const TWO_TICKS: u64 = 20_000_000;
    thread.tgid == process.pid && thread.start_boot.abs_diff(process.start_boot) < TWO_TICKS
}

impl Caught {
    fn standing(&self) -> Option<Standing> {
        let entry = self.entry.filter(|entry| entry.thread_pointer != 0)?;
        Some((self.seen.tid, entry.thread_pointer))
    }

    fn named(
        &self,
        process: &Process,
        memory: Option<&File>,
        switches: &HashMap<u32, u64>,
        symbolizer: &mut Symbolizer,
    ) -> Thread {
        let Self { seen, entry, .. } = self;
        let unmoved = switches.get(&seen.tid) == Some(&seen.switches);
        let stack = self.stack.as_ref().filter(|_| unmoved);
        let (stack, frames_at) = entry
            .zip(stack)
            .map(|(entry, bytes)| frames(process, (seen.tid, &entry), bytes, symbolizer))
            .unwrap_or_default();
        let wait = if unmoved {
            let looks = (self.mutex, mutex(&self.wait, memory));
            wait::lock::judge(self.wait.clone(), process.pid, seen.tid, &stack, looks)
        } else {
            wait::without_files(self.wait.clone())
        };
        Thread {
            tid: seen.tid,
            comm: comm(&seen.comm),
            state: seen.state,
            syscall: self.call.map(str::to_owned),
            fd: entry.and_then(|entry| wait::descriptor(&wait, self.call, &entry)),
            stack,
            since: seen.since,
            socket: talks_to(&wait),
            name: None,
            frames_at,
            wait,
            switches: seen.waits,
            began: began(seen.began_boot),
            goroutine: None,
            created: None,
            sampled: None,
            task: None,
        }
    }
}

impl Caught {
    /// The stack without what was read from the process later.
    fn native(&self, process: &Process, symbolizer: &mut Symbolizer) -> Frames {
        let Some((entry, bytes)) = self.entry.zip(self.stack.as_ref()) else {
            return Frames::default();
        };
        let entry = KernelEntry {
            thread_pointer: 0,
            ..entry
        };
        frames(process, (self.seen.tid, &entry), bytes, symbolizer)
    }
}

/// The socket whose peer a thread waits for. A listener has none.
fn talks_to(wait: &Wait) -> Option<u64> {
    let (Wait::Receive(target) | Wait::Send(target) | Wait::Connect(target)) = wait else {
        return None;
    };
    target.file.socket()
}

/// And where they lie.
type Frames = (Vec<Frame>, Vec<FrameAddress>);

fn frames(
    process: &Process,
    (tid, entry): (u32, &KernelEntry),
    bytes: &[u8],
    symbolizer: &mut Symbolizer,
) -> Frames {
    let copy = StackCopy {
        pid: process.pid,
        start_boot_ns: process.start_boot,
        pc: entry.pc,
        sp: entry.sp,
        fp: entry.fp,
        lr: entry.lr,
        thread: entry.thread_pointer,
        first_thread: tid == process.pid,
        noted: Noted::Nothing,
        bytes,
        walked: &[],
        sure: None,
    };
    let stack = symbolizer.resolve(&copy).stack;
    let absolute = |place: FrameAddress| FrameAddress {
        cfa: place.cfa.wrapping_add(entry.sp),
        ..place
    };
    let places = stack.frames_at.into_iter().map(absolute);
    (stack.frames, places.collect())
}

/// The pages from `sp` up, as many as can be read.
fn stack_bytes(memory: Option<&File>, sp: u64) -> Vec<u8> {
    let mut bytes = vec![0; STACK_BYTES];
    let mut have = 0;
    while have < bytes.len() {
        let at = sp.saturating_add(have as u64);
        let page_end = PAGE - (at as usize % PAGE);
        let to = (have + page_end).min(STACK_BYTES);
        let room = bytes.get_mut(have..to).unwrap_or_default();
        let read = memory.map_or(0, |memory| memory.read_at(room, at).unwrap_or(0));
        have += read;
        if read == 0 {
            break;
        }
    }
    bytes.truncate(have);
    bytes
}

#[cfg(test)]
mod tests;
