//! The same as /proc shows it: /proc/PID/task/TID/{stat,syscall}. No frame pointer, so stacks of code that
//! needs one end early, and nothing tells since when a thread waits.

use std::{collections::BTreeSet, fs::File};

use procfs::process::Process as Proc;

use super::{MAX_THREADS, Room, frames, stack_bytes};
use crate::{
    model::{
        input::{Process, Thread},
        wait::Wait,
    },
    probe::threads::KernelEntry,
    source::syscall::Syscall,
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
    let mut room = Room::default();
    let mut threads: Vec<Thread> = tasks
        .flatten()
        .take(MAX_THREADS)
        .filter_map(|task| {
            let stat = task.stat().ok()?;
            let tid = task.tid as u32;
            let blocked = blocked_in(process.pid, tid);
            let stack = blocked
                .filter(|_| room.takes(asked.contains(&tid)))
                .map(|entry| (entry, stack_bytes(memory.as_ref(), entry.sp)))
                // It may have moved on while its stack was read.
                .filter(|(entry, _)| blocked_in(process.pid, tid) == Some(*entry));
            let call = blocked.map(|entry| Syscall {
                number: entry.call.into(),
                first: entry.argument,
            });
            Some(Thread {
                tid,
                comm: stat.comm,
                state: stat.state,
                syscall: call.and_then(Syscall::name).map(str::to_owned),
                fd: call.and_then(Syscall::fd),
                stack: stack
                    .map(|(entry, bytes)| frames(process, &entry, &bytes, symbolizer))
                    .unwrap_or_default(),
                since: None,
                socket: None,
                name: None,
                frames_at: Vec::new(),
                wait: Wait::default(),
                switches: 0,
            })
        })
        .collect();
    threads.sort_by_key(|thread| thread.tid);
    threads
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
    let [argument, _, _, _, _, _, sp, pc] = rest.try_into().ok()?;
    Some(KernelEntry {
        call,
        argument,
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
            (call.call, call.argument, call.sp, call.pc),
            (45, 4, 0x7ffd5, 0x7f001)
        );
        for text in ["", "running", "-1 0x7ffd5 0x7f001", "45 0x4 zz"] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
