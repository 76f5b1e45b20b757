//! The same as /proc shows it: /proc/PID/task/TID/{stat,syscall}. No frame pointer, so stacks of code that
//! needs one end early, and nothing tells since when a thread waits.

use std::{collections::BTreeSet, fs::File};

use procfs::process::Process as Proc;

use super::{MAX_STACKS, MAX_THREADS, frames, mutex, stack_bytes, talks_to};
use crate::{
    model::input::{Process, Thread},
    probe::threads::KernelEntry,
    source::wait::{self, Budget, Place},
    symbolize::Symbolizer,
};

pub(super) fn read(
    process: &Process,
    asked: &BTreeSet<u32>,
    symbolizer: &mut Symbolizer,
) -> Vec<Thread> {
    let Ok(tasks) = Proc::new(process.pid as i32).and_then(|proc| proc.tasks()) else {
        return Vec::new();
    };
    let memory = File::open(format!("/proc/{}/mem", process.pid)).ok();
    // The asked-for ones always find room.
    let mut others = MAX_STACKS.saturating_sub(asked.len());
    let mut budget = Budget::default();
    // Listed at once: a list that is read slowly loses its place when threads end meanwhile.
    let tasks: Vec<_> = tasks.flatten().take(MAX_THREADS).collect();
    let mut threads: Vec<Thread> = tasks
        .into_iter()
        .filter_map(|task| {
            let stat = task.stat().ok()?;
            let tid = task.tid as u32;
            let blocked = blocked_in(process.pid, tid);
            let place = Place {
                pid: process.pid,
                tid,
                state: if process.frozen { 'T' } else { stat.state },
                memory: memory.as_ref(),
            };
            let before = switches(process.pid, tid);
            let (call, wait) = wait::of(place, blocked.as_ref(), &mut budget);
            let first = mutex(&wait, memory.as_ref());
            let stack = blocked
                .filter(|_| {
                    let room = asked.contains(&tid) || others > 0;
                    others = others.saturating_sub(1);
                    room
                })
                .map(|entry| (entry, stack_bytes(memory.as_ref(), entry.sp)));
            // It may have moved on meanwhile.
            let unmoved = before.is_some()
                && blocked_in(process.pid, tid) == blocked
                && switches(process.pid, tid) == before;
            let stack = stack.filter(|_| unmoved);
            let (stack, frames_at) = stack
                .map(|(entry, bytes)| frames(process, (tid, &entry), &bytes, symbolizer))
                .unwrap_or_default();
            let wait = if unmoved {
                let looks = (first, mutex(&wait, memory.as_ref()));
                wait::lock::judge(wait, process.pid, tid, &stack, looks)
            } else {
                wait::without_files(wait)
            };
            Some(Thread {
                tid,
                goroutine: None,
                created: None,
                sampled: None,
                task: None,
                comm: stat.comm,
                state: stat.state,
                syscall: call.map(str::to_owned),
                fd: blocked.and_then(|entry| wait::descriptor(&wait, call, &entry)),
                stack,
                since: None,
                socket: talks_to(&wait),
                name: None,
                frames_at,
                wait,
                switches: before.map_or(0, |(waits, _)| waits),
                began: 0,
            })
        })
        .collect();
    threads.sort_by_key(|thread| thread.tid);
    threads
}

/// How often it has left a CPU to wait, and how often for another task.
fn switches(pid: u32, tid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).ok()?;
    let count = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim().parse::<u64>().ok()
    };
    count("voluntary_ctxt_switches:").zip(count("nonvoluntary_ctxt_switches:"))
}

pub(super) fn blocked_in(pid: u32, tid: u32) -> Option<KernelEntry> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?)
}

/// Of a thread that is blocked in a system call (Documentation/filesystems/proc.rst): number, six
/// arguments, stack pointer, program counter. "running" when it is not blocked, "-1 SP PC" outside of a
/// call: neither parses.
fn parse(text: &str) -> Option<KernelEntry> {
    let mut words = text.split_ascii_whitespace();
    let call = words.next()?.parse().ok()?;
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let rest: Vec<u64> = words.map_while(hex).collect();
    let [arguments @ .., sp, pc]: [u64; 8] = rest.try_into().ok()?;
    Some(KernelEntry {
        call,
        arguments,
        // Nothing here tells, but that all of such a program lies below 4 GiB.
        compat: sp >> 32 == 0 && pc >> 32 == 0,
        pc,
        sp,
        fp: 0,
        lr: 0,
        thread_pointer: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_call_is_read_and_anything_else_is_none() {
        let call = parse("45 0x4 0x7ffe 0x10 0x0 0x0 0x0 0x7ffd5 0x7f001").unwrap();
        assert_eq!(
            (call.call, call.arguments[0], call.sp, call.pc),
            (45, 4, 0x7ffd5, 0x7f001)
        );
        for text in ["", "running", "-1 0x7ffd5 0x7f001", "45 0x4 zz"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
