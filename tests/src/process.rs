//! Facts about a process under test, read from /proc by the test itself.
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// Waits for `child`, killing it when the deadline passes; `None` says it was killed.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let ended = crate::wait::poll_for(limit, || child.try_wait().expect("wait for a child"));
    if ended.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    ended
}

pub fn signal(child: &Child, signal: Signal) {
    let _ = rustix::process::kill_process(Pid::from_child(child), signal);
}

/// The open descriptors of `pid` that are sockets: number and inode.
pub fn sockets(pid: u32) -> BTreeMap<u32, u64> {
    let socket = |(fd, target): (u32, PathBuf)| {
        let inode = target
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()?;
        Some((fd, inode))
    };
    descriptors(pid).into_iter().filter_map(socket).collect()
}

/// The open descriptors of `pid` and what they point to; empty when it is gone.
pub fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let Ok(listing) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    let descriptor = |entry: std::fs::DirEntry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        Some((fd, std::fs::read_link(entry.path()).ok()?))
    };
    listing.flatten().filter_map(descriptor).collect()
}

/// The number of write(2) on `x86_64` and on the architectures with the generic table.
pub const WRITE: u64 = if cfg!(target_arch = "x86_64") { 1 } else { 64 };

/// The system call a thread is in.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: u64,
    /// Its first argument: the descriptor, for those that have one.
    pub first: u64,
}

/// The threads of `pid` that are in a system call, by name.
pub fn threads(pid: u32) -> Vec<(String, Call)> {
    let listing = std::fs::read_dir(format!("/proc/{pid}/task")).expect("list threads");
    let thread = |entry: std::fs::DirEntry| {
        let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let text = std::fs::read_to_string(entry.path().join("syscall")).ok()?;
        let mut words = text.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let first = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        Some((name.trim_end().to_owned(), Call { number, first }))
    };
    listing.flatten().filter_map(thread).collect()
}

/// The states of all threads of `pid`, as in `ps`: R, S, T.
pub fn states(pid: u32) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("list its threads");
    let state = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    };
    tasks.flatten().filter_map(state).collect()
}

/// Also if nobody has asked for its status yet: an orphan's new parent does when it likes.
pub fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    let state = |stat: &str| stat.rsplit_once(") ")?.1.chars().next();
    stat.map_or(true, |stat| matches!(state(&stat), Some('Z' | 'X')))
}

/// How many descriptors `pid` may have.
pub fn most_descriptors(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("read its limits");
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let number = soft.and_then(|soft| soft.parse().ok());
    number.expect("a limit of open files")
}

/// The inode that names the network namespace of `pid`.
pub fn netns(pid: u32) -> u64 {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("read a namespace link");
    let text = link.to_string_lossy();
    let inode = text
        .trim_start_matches("net:[")
        .trim_end_matches(']')
        .parse();
    inode.unwrap_or_else(|_| panic!("a namespace link reads {text}"))
}

/// The tracer that `sockleak run`, process `pid`, has started beside CMD.
pub fn tracer_of(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).ok()?;
    children.split_whitespace().find_map(|child| {
        let cmdline = std::fs::read(format!("/proc/{child}/cmdline")).ok()?;
        let cmdline = String::from_utf8_lossy(&cmdline).into_owned();
        cmdline
            .contains("--internal-run-tracer")
            .then(|| child.parse().ok())?
    })
}
