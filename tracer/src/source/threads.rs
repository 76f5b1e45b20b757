//! What the threads of a process are blocked in now, read from outside without stopping it:
//! /proc/PID/task/TID/{status,syscall} and the stack bytes in /proc/PID/mem.

use std::{collections::BTreeSet, fs::File, os::unix::fs::FileExt, path::PathBuf};

use procfs::process::Process as Proc;

use super::stacks::PAGE;
use crate::{
    model::input::{Process, Thread},
    symbolize::{StackCopy, Symbolizer},
};

/// Threads looked at per process, and those whose stacks are read: the asked-for ones and some more.
const MAX_THREADS: usize = 1024;
const MAX_ASKED: usize = 240;
const MAX_OTHERS: usize = 16;
const STACK_BYTES: usize = 16 * 1024;

/// All threads with what they are blocked in; `asked` come first where stacks are counted.
pub fn read(process: &Process, asked: &BTreeSet<u32>, symbolizer: &mut Symbolizer) -> Vec<Thread> {
    let Ok(proc) = Proc::new(process.pid as i32) else {
        return Vec::new();
    };
    let Ok(tasks) = proc.tasks() else {
        return Vec::new();
    };
    let (mut asked_left, mut others_left) = (MAX_ASKED, MAX_OTHERS);
    let mut threads: Vec<Thread> = tasks
        .flatten()
        .take(MAX_THREADS)
        .filter_map(|task| {
            let stat = task.stat().ok()?;
            let tid = task.tid as u32;
            let blocked = blocked_in(process.pid, tid);
            let left = if asked.contains(&tid) {
                &mut asked_left
            } else {
                &mut others_left
            };
            let stack = match &blocked {
                Some(call) if *left > 0 => {
                    *left -= 1;
                    stack_of(process, call, symbolizer)
                }
                _ => Vec::new(),
            };
            Some(Thread {
                tid,
                comm: stat.comm,
                state: stat.state,
                syscall: blocked
                    .as_ref()
                    .and_then(|call| name(call.number))
                    .map(str::to_owned),
                fd: blocked.as_ref().and_then(Syscall::fd),
                stack,
                since: None,
                socket: None,
                name: None,
            })
        })
        .collect();
    threads.sort_by_key(|thread| thread.tid);
    threads
}

/// /proc/PID/task/TID/syscall of a thread that is blocked in one
/// (Documentation/filesystems/proc.rst): number, six arguments, stack pointer, program counter.
struct Syscall {
    number: i64,
    first: u64,
    sp: u64,
    pc: u64,
}

impl Syscall {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?.parse().ok()?;
        let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let rest: Vec<u64> = words.map_while(hex).collect();
        let [first, _, _, _, _, _, sp, pc] = rest.try_into().ok()?;
        Some(Self {
            number,
            first,
            sp,
            pc,
        })
    }

    /// The descriptor, for calls whose first argument is one.
    fn fd(&self) -> Option<i32> {
        const TAKES_FD: &[&str] = &[
            "read",
            "write",
            "readv",
            "writev",
            "recvfrom",
            "recvmsg",
            "sendto",
            "sendmsg",
            "accept",
            "accept4",
            "epoll_wait",
            "epoll_pwait",
            "connect",
            "sendfile",
            "fsync",
        ];
        name(self.number)
            .filter(|name| TAKES_FD.contains(name))
            .and_then(|_| i32::try_from(self.first).ok())
    }
}

/// Names the sockets that threads are blocked on, which may be on other descriptors by now: only for
/// showing whom a thread waits for.
pub fn find_sockets(pid: u32, threads: &mut [Thread]) {
    for thread in threads {
        let Some(fd) = thread.fd else { continue };
        let link = std::fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        thread.socket = link.ok().and_then(|target| {
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            inode.parse().ok()
        });
    }
}

fn blocked_in(pid: u32, tid: u32) -> Option<Syscall> {
    let path: PathBuf = format!("/proc/{pid}/task/{tid}/syscall").into();
    // "running" when it is not blocked, "-1 SP PC" outside a system call: neither parses.
    Syscall::parse(&std::fs::read_to_string(path).ok()?)
}

fn stack_of(
    process: &Process,
    call: &Syscall,
    symbolizer: &mut Symbolizer,
) -> Vec<crate::model::stack::Frame> {
    let bytes = memory(process.pid, call.sp).unwrap_or_default();
    let copy = StackCopy {
        pid: process.pid,
        start_boot_ns: process.start_boot,
        pc: call.pc,
        sp: call.sp,
        fp: 0,
        lr: 0,
        bytes: &bytes,
    };
    symbolizer.resolve(&copy).stack.frames
}

/// The pages from `sp` up, as many as can be read.
fn memory(pid: u32, sp: u64) -> Option<Vec<u8>> {
    let file = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = vec![0; STACK_BYTES];
    let mut have = 0;
    while have < bytes.len() {
        let at = sp + have as u64;
        let page_end = PAGE - (at as usize % PAGE);
        let to = (have + page_end).min(STACK_BYTES);
        let read = file.read_at(bytes.get_mut(have..to)?, at).unwrap_or(0);
        have += read;
        if read == 0 {
            break;
        }
    }
    bytes.truncate(have);
    Some(bytes)
}

/// The system calls a thread of a server blocks in; others are shown by number elsewhere.
#[cfg(target_arch = "x86_64")]
const NAMES: &[(i64, &str)] = &[
    (0, "read"),
    (1, "write"),
    (7, "poll"),
    (19, "readv"),
    (20, "writev"),
    (23, "select"),
    (34, "pause"),
    (35, "nanosleep"),
    (40, "sendfile"),
    (42, "connect"),
    (43, "accept"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (61, "wait4"),
    (74, "fsync"),
    (130, "rt_sigsuspend"),
    (128, "rt_sigtimedwait"),
    (202, "futex"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (247, "waitid"),
    (270, "pselect6"),
    (271, "ppoll"),
    (281, "epoll_pwait"),
    (288, "accept4"),
    (426, "io_uring_enter"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
];
#[cfg(target_arch = "aarch64")]
const NAMES: &[(i64, &str)] = &[
    (22, "epoll_pwait"),
    (63, "read"),
    (64, "write"),
    (65, "readv"),
    (66, "writev"),
    (71, "sendfile"),
    (72, "pselect6"),
    (73, "ppoll"),
    (82, "fsync"),
    (95, "waitid"),
    (98, "futex"),
    (101, "nanosleep"),
    (115, "clock_nanosleep"),
    (133, "rt_sigsuspend"),
    (137, "rt_sigtimedwait"),
    (202, "accept"),
    (203, "connect"),
    (206, "sendto"),
    (207, "recvfrom"),
    (211, "sendmsg"),
    (212, "recvmsg"),
    (242, "accept4"),
    (260, "wait4"),
    (426, "io_uring_enter"),
    (441, "epoll_pwait2"),
    (449, "futex_waitv"),
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NAMES: &[(i64, &str)] = &[];

fn name(number: i64) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(known, _)| *known == number)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier, Mutex};

    use super::*;

    #[test]
    fn a_blocked_call_is_read_and_anything_else_is_none() {
        let call = Syscall::parse("45 0x4 0x7ffe 0x10 0x0 0x0 0x0 0x7ffd5 0x7f001").unwrap();
        assert_eq!((call.number, call.sp, call.pc), (45, 0x7ffd5, 0x7f001));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(call.fd(), Some(4));
        for text in ["", "running", "-1 0x7ffd5 0x7f001", "45 0x4 zz"] {
            assert!(Syscall::parse(text).is_none(), "{text}");
        }
    }

    /// More threads than stacks are read of: all are listed, and the asked-for one has its stack.
    #[test]
    fn all_threads_are_seen_and_the_asked_for_ones_first() {
        let (stop, tids) = (Arc::new(Barrier::new(41)), Arc::new(Mutex::new(Vec::new())));
        let workers: Vec<_> = (0..40)
            .map(|_| {
                let (stop, tids) = (Arc::clone(&stop), Arc::clone(&tids));
                std::thread::spawn(move || {
                    let tid = rustix::thread::gettid().as_raw_nonzero().get() as u32;
                    tids.lock().unwrap().push(tid);
                    stop.wait();
                })
            })
            .collect();
        while tids.lock().unwrap().len() < 40 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        let last = *tids.lock().unwrap().iter().max().unwrap();
        let own = crate::source::process::read(std::process::id(), false).unwrap();
        let threads = read(&own, &BTreeSet::from([last]), &mut Symbolizer::new());
        stop.wait();
        for worker in workers {
            worker.join().unwrap();
        }
        assert!(threads.len() > 40);
        assert!(threads.is_sorted_by_key(|thread| thread.tid));
        let asked = threads.iter().find(|thread| thread.tid == last).unwrap();
        assert_eq!(asked.syscall.as_deref(), Some("futex"));
        assert!(!asked.stack.is_empty());
    }
}
