//! The threads of some processes by the task iterator: what each waits in, with which registers, and
//! since when. Times are turned into `CLOCK_MONOTONIC` here, never to an earlier moment than the true one.

use aya::{
    Btf, Ebpf,
    maps::{HashMap, MapData},
};
use tracer_common::{
    config::MAX_ASKED,
    thread::{ARGUMENTS, THREAD_HAS_REGS, THREAD_IS_COMPAT, THREAD_STILL, ThreadItem},
};
use zerocopy::FromBytes;

use super::iterate::{self, IterateError};

pub const TASK: (&str, &str) = ("iter_task", "task");

/// Threads taken in by one look; 176 bytes each.
const MAX_SEEN: usize = 65_536;

/// A thread as one look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenThread {
    pub tgid: u32,
    pub tid: u32,
    /// Of the process, `CLOCK_BOOTTIME` nanoseconds.
    pub start_boot: u64,
    /// Of the thread itself.
    pub began_boot: u64,
    pub comm: [u8; 16],
    /// As in /proc/PID/stat.
    pub state: char,
    /// How often it has left a CPU: while this stays, it has not run.
    pub switches: u64,
    /// How often to wait.
    pub waits: u64,
    /// It was off the CPU all the time while it was looked at.
    pub still: bool,
    /// With what it entered the kernel; `None` unless it is still, and where the kernel does not tell.
    pub entry: Option<KernelEntry>,
    /// The latest moment it can have stopped running, `CLOCK_MONOTONIC` nanoseconds.
    pub since: Option<u64>,
}

/// Registers of a thread that is in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelEntry {
    /// Number of the system call; -1 when something else brought it there.
    pub call: i32,
    pub arguments: [u64; ARGUMENTS],
    /// By the numbers of 32-bit programs.
    pub compat: bool,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    pub lr: u64,
    pub thread_pointer: u64,
}

/// Loads the iterator; it costs nothing until it is run.
pub fn load(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), IterateError> {
    iterate::load_one(ebpf, btf, TASK)
}

/// Looks at every thread of `pids`, at most [`MAX_ASKED`] of them.
pub fn look(
    ebpf: &mut Ebpf,
    asked: &mut HashMap<MapData, u32, u8>,
    pids: &[u32],
) -> Result<Vec<SeenThread>, IterateError> {
    let old: Vec<u32> = asked.keys().flatten().collect();
    for pid in old.iter().filter(|pid| !pids.contains(pid)) {
        asked.remove(pid)?;
    }
    for pid in pids.iter().take(MAX_ASKED as usize) {
        asked.insert(pid, 1, 0)?;
    }
    let mut stream = iterate::open(ebpf, TASK)?;
    let mut items = Vec::new();
    // The run queue's clock is set when its CPU changes tasks: so it is fresh when the reader begins.
    std::thread::yield_now();
    iterate::read(TASK, &mut stream, size_of::<ThreadItem>(), |bytes| {
        let records = bytes.chunks_exact(size_of::<ThreadItem>());
        let room = MAX_SEEN.saturating_sub(items.len());
        let records = records.filter_map(|record| ThreadItem::read_from_bytes(record).ok());
        items.extend(records.take(room));
        Ok(())
    })?;
    Ok(seen(&items))
}

fn seen(items: &[ThreadItem]) -> Vec<SeenThread> {
    // Of all pairs the one whose scheduler's clock was read most freshly; older ones only shift moments
    // to later.
    let ahead = items
        .iter()
        .filter(|item| item.sched_now != 0)
        .map(|item| i128::from(item.now) - i128::from(item.sched_now))
        .min();
    items.iter().map(|item| describe(item, ahead)).collect()
}

/// `ahead`: how far `CLOCK_MONOTONIC` is ahead of the scheduler's clock, at most.
fn describe(item: &ThreadItem, ahead: Option<i128>) -> SeenThread {
    let still = item.flags & THREAD_STILL != 0;
    let entry = KernelEntry {
        call: item.call,
        arguments: item.arguments,
        compat: item.flags & THREAD_IS_COMPAT != 0,
        pc: item.pc,
        sp: item.sp,
        fp: item.fp,
        lr: item.lr,
        thread_pointer: item.thread_pointer,
    };
    SeenThread {
        tgid: item.tgid,
        tid: item.tid,
        start_boot: item.start_boot,
        began_boot: item.began_boot,
        comm: item.comm,
        state: letter(item.state),
        switches: item.switches,
        waits: item.waits,
        still,
        entry: (still && item.flags & THREAD_HAS_REGS != 0 && item.sp != 0).then_some(entry),
        since: ahead
            .filter(|_| still && item.ran != 0)
            .and_then(|ahead| since(item, ahead)),
    }
}

/// `CLOCK_MONOTONIC` is slewed towards wall time by at most 500 parts in a million
/// (kernel/time/ntp.c:MAXFREQ), the scheduler's clock is not: a thousandth is taken off what has passed.
fn since(item: &ThreadItem, ahead: i128) -> Option<u64> {
    let left = i128::from(item.ran) + ahead;
    let passed = (i128::from(item.now) - left).max(0);
    u64::try_from(i128::from(item.now) - passed + passed / 1000).ok()
}

/// As `fs/proc/array.c:task_state_array` has it. Bits above are not reported, but for `TASK_RTLOCK_WAIT`
/// and `TASK_FROZEN`, which count as uninterruptible (`include/linux/sched.h:__task_state_index`).
fn letter(state: u32) -> char {
    const REPORTED: u32 = 0x7f;
    const RTLOCK_WAIT: u32 = 0x1000;
    const FROZEN: u32 = 0x8000;
    let highest = u32::BITS - (state & REPORTED).leading_zeros();
    match highest {
        0 if state & (RTLOCK_WAIT | FROZEN) != 0 => 'D',
        0 => 'R',
        1 => 'S',
        2 => 'D',
        3 => 'T',
        4 => 't',
        5 => 'X',
        6 => 'Z',
        _ => 'P',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> ThreadItem {
        ThreadItem {
            now: 50_000_000_000,
            sched_now: 40_000_000_000,
            ran: 38_000_000_000,
            switches: 7,
            waits: 5,
            start_boot: 1,
            began_boot: 1,
            pc: 0x1000,
            sp: 0x2000,
            fp: 0,
            lr: 0,
            thread_pointer: 0x7000,
            arguments: [4, 0, 0, 0, 0, 0],
            call: 0,
            state: 1,
            tgid: 10,
            tid: 11,
            flags: THREAD_STILL | THREAD_HAS_REGS,
            reserved: 0,
            comm: [0; 16],
        }
    }

    /// Two seconds, less a thousandth.
    #[test]
    fn moments_are_moved_to_the_other_clock() {
        assert_eq!(seen(&[item()])[0].since, Some(48_000_000_000 + 2_000_000));
    }

    /// A stale clock of one CPU would put the moment later; a fresher one of the same look corrects it.
    #[test]
    fn the_freshest_clock_is_used() {
        let stale = ThreadItem {
            sched_now: 39_000_000_000,
            ..item()
        };
        assert_eq!(seen(&[stale])[0].since, Some(49_001_000_000));
        assert_eq!(seen(&[stale, item()])[0].since, seen(&[item()])[0].since);
    }

    #[test]
    fn nothing_is_said_of_a_thread_that_moves() {
        let moving = ThreadItem {
            flags: THREAD_HAS_REGS,
            ..item()
        };
        let found = &seen(&[moving])[0];
        assert_eq!((found.since, found.entry), (None, None));
    }

    #[test]
    fn clocks_that_are_not_there_or_make_no_sense_give_no_moment() {
        for item in [
            ThreadItem { ran: 0, ..item() },
            ThreadItem {
                sched_now: 0,
                ..item()
            },
        ] {
            assert_eq!(seen(&[item])[0].since, None);
        }
        let later = ThreadItem {
            ran: 41_000_000_000,
            ..item()
        };
        assert_eq!(seen(&[later])[0].since, Some(later.now));
    }

    #[test]
    fn states_have_their_letters() {
        let letters: String = [
            0, 1, 2, 0x402, 0x104, 0x108, 0x10, 0x20, 0x40, 0x1000, 0x8000, 0x2001,
        ]
        .map(letter)
        .iter()
        .collect();
        assert_eq!(letters, "RSDDTtXZPDDS");
    }
}
