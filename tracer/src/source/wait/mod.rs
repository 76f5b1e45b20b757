//! What a thread waits for, from the registers with which it entered the kernel, the memory these point
//! to, and its descriptors. What is read must be read while the thread stands still; whether it did, the
//! caller finds out. Bounded: the memory belongs to a process that may mean harm.

mod files;
pub mod lock;
mod polled;

use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read as _},
};

use procfs::{
    FromBufRead as _,
    net::{UnixNetEntries, UnixState},
};
use tracer_common::thread::ARGUMENTS;

use crate::{
    model::wait::{FileKind, Polled, Target, Wait},
    probe::threads::KernelEntry,
    source::syscall::Syscall,
};

pub use files::kind_of;

/// What one process may still cost, and what is read of it once.
#[derive(Debug)]
pub struct Budget {
    /// Descriptors that may still be looked up.
    pub lookups: usize,
    /// Inodes of its network namespace's Unix sockets that have another end.
    local: Option<HashSet<u64>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            lookups: 16_384,
            local: None,
        }
    }
}

/// A thread that is off the CPU.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    pub pid: u32,
    pub tid: u32,
    /// As in /proc/PID/stat.
    pub state: char,
    /// Of its process, where that may be read.
    pub memory: Option<&'p File>,
}

/// Text read of the table of Unix sockets: some hundred thousand of them.
const MAX_LOCAL: u64 = 8 << 20;
const NEGATIVE: u64 = 1 << 31;

/// And the name of the system call. `entry` is what the thread entered the kernel with, if it is still.
pub fn of(
    place: Place<'_>,
    entry: Option<&KernelEntry>,
    budget: &mut Budget,
) -> (Option<&'static str>, Wait) {
    let own = |entry: &&KernelEntry| !entry.compat;
    let call = entry.filter(own).and_then(|entry| call_name(place, entry));
    (call, decode(place, entry, call, budget))
}

fn decode(
    place: Place<'_>,
    entry: Option<&KernelEntry>,
    call: Option<&str>,
    budget: &mut Budget,
) -> Wait {
    match place.state {
        'R' => return Wait::Running,
        'T' | 't' => return Wait::Stopped,
        'S' | 'D' => {}
        _ => return Wait::Unknown,
    }
    // Those of 32-bit programs have other numbers and layouts.
    let Some(entry) = entry.filter(|entry| !entry.compat) else {
        return Wait::Unknown;
    };
    let Some(name) = call else {
        return match place.state {
            'D' => Wait::Disk,
            _ => Wait::Other,
        };
    };
    let mut reader = Reader { place, budget };
    let [first, second, third, ..] = entry.arguments;
    let target = |reader: &mut Reader<'_, '_>| reader.target(first as i32);
    match kind(name) {
        Kind::Receive => match target(&mut reader) {
            // A pipe or a socket is waited for in a sleep that signals end.
            file if file.file == FileKind::Other && place.state == 'D' => Wait::Disk,
            other => Wait::Receive(other),
        },
        Kind::Send => Wait::Send(target(&mut reader)),
        Kind::Connect => Wait::Connect(target(&mut reader)),
        Kind::Accept => Wait::Accept(target(&mut reader)),
        Kind::Epoll => Wait::Epoll { set: first as u32 },
        // An int; a negative time is none.
        Kind::Poll => Wait::Poll(polled::poll(
            &mut reader,
            first,
            second,
            third & NEGATIVE == 0,
        )),
        Kind::TimedPoll => Wait::Poll(polled::poll(&mut reader, first, second, third != 0)),
        Kind::Select => Wait::Poll(polled::select(&mut reader, entry.arguments)),
        Kind::Futex if lock::waits(second) => Wait::Futex { address: first },
        Kind::FutexWait => Wait::Futex { address: first },
        Kind::Sleep => Wait::Sleep,
        Kind::Child => Wait::Child,
        Kind::Signal => Wait::Signal,
        Kind::IoUring => Wait::IoUring,
        Kind::Disk | Kind::Path => Wait::Disk,
        Kind::FileLock => Wait::Lock {
            address: 0,
            owner: None,
        },
        Kind::Control if WAITS_FOR_LOCK.contains(&second) => Wait::Lock {
            address: 0,
            owner: None,
        },
        // Most calls sleep uninterruptibly for a device alone.
        Kind::Futex | Kind::Control | Kind::Other if place.state == 'D' => Wait::Disk,
        Kind::Futex | Kind::Control | Kind::Other => Wait::Other,
    }
}

/// For a thread that has run since: the files may be others by now.
pub fn without_files(wait: Wait) -> Wait {
    let bare = |target: Target| Target {
        fd: target.fd,
        file: FileKind::Unknown,
    };
    match wait {
        Wait::Receive(target) => Wait::Receive(bare(target)),
        Wait::Send(target) => Wait::Send(bare(target)),
        Wait::Connect(target) => Wait::Connect(bare(target)),
        Wait::Accept(target) => Wait::Accept(bare(target)),
        Wait::Poll(polled) => Wait::Poll(Polled {
            members: Vec::new(),
            complete: false,
            ..polled
        }),
        other => other,
    }
}

/// The descriptor the call is about, for people.
pub fn descriptor(wait: &Wait, call: Option<&str>, entry: &KernelEntry) -> Option<i32> {
    match wait {
        Wait::Receive(target)
        | Wait::Send(target)
        | Wait::Connect(target)
        | Wait::Accept(target) => Some(target.fd),
        Wait::Epoll { set } => i32::try_from(*set).ok(),
        Wait::Disk => {
            let [first, ..] = entry.arguments;
            let of_file = call.is_some_and(|name| kind(name) == Kind::Disk);
            i32::try_from(first).ok().filter(|_| of_file)
        }
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Receive,
    Send,
    Connect,
    Accept,
    Epoll,
    Poll,
    /// With a pointer to a time.
    TimedPoll,
    Select,
    Futex,
    /// `futex_wait`, which does nothing else.
    FutexWait,
    Sleep,
    Child,
    Signal,
    IoUring,
    /// On a descriptor.
    Disk,
    /// By a path: a file that is far away, or a FIFO that nobody else opens.
    Path,
    /// On a file, between processes.
    FileLock,
    /// `fcntl`, which has such locks too.
    Control,
    Other,
}

/// `F_SETLKW` and `F_OFD_SETLKW`.
const WAITS_FOR_LOCK: [u64; 2] = [7, 38];

fn kind(call: &str) -> Kind {
    match call {
        "read" | "readv" | "pread64" | "preadv" | "preadv2" | "recvfrom" | "recvmsg"
        | "recvmmsg" => Kind::Receive,
        // Its first descriptor is that which is written to.
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "sendto" | "sendmsg"
        | "sendmmsg" | "sendfile" => Kind::Send,
        "connect" => Kind::Connect,
        "accept" | "accept4" => Kind::Accept,
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => Kind::Epoll,
        "poll" => Kind::Poll,
        "ppoll" => Kind::TimedPoll,
        "select" | "pselect6" => Kind::Select,
        "futex" => Kind::Futex,
        "futex_wait" => Kind::FutexWait,
        "nanosleep" | "clock_nanosleep" => Kind::Sleep,
        "wait4" | "waitid" | "vfork" | "clone" | "clone3" => Kind::Child,
        "pause" | "rt_sigsuspend" | "rt_sigtimedwait" => Kind::Signal,
        "io_uring_enter" => Kind::IoUring,
        "open" | "openat" | "openat2" | "creat" | "stat" | "lstat" | "newfstatat" | "statx"
        | "access" | "faccessat" | "faccessat2" | "readlink" | "readlinkat" | "unlink"
        | "unlinkat" | "rename" | "renameat" | "renameat2" | "mkdir" | "mkdirat" => Kind::Path,
        "fsync" | "fdatasync" | "sync_file_range" | "syncfs" => Kind::Disk,
        "flock" => Kind::FileLock,
        "fcntl" => Kind::Control,
        _ => Kind::Other,
    }
}

/// `restart_syscall` continues a call that a stop has interrupted, with the arguments of that call still in
/// the registers (`arch/x86/kernel/signal.c` leaves them); which one, the kernel function it
/// sleeps in tells.
fn call_name(place: Place<'_>, entry: &KernelEntry) -> Option<&'static str> {
    let name = Syscall(entry.call).name()?;
    if name != "restart_syscall" {
        return Some(name);
    }
    let path = format!("/proc/{}/task/{}/wchan", place.pid, place.tid);
    interrupted(std::fs::read_to_string(path).ok()?.as_str()).or(Some(name))
}

/// The calls that leave a restart block (`kernel/futex/waitwake.c`, `kernel/time/hrtimer.c`, `fs/select.c`).
/// What sleeps for a time alone does so in functions of the scheduler, which are left out of what is told:
/// then it is their caller's caller.
fn interrupted(wchan: &str) -> Option<&'static str> {
    const POLL: [&str; 3] = ["poll_schedule_timeout", "do_poll", "do_sys_poll"];
    const SLEEP: [&str; 6] = [
        "hrtimer_nanosleep",
        "do_nanosleep",
        "common_nsleep",
        "__x64_sys_restart_syscall",
        "do_syscall_64",
        "invoke_syscall",
    ];
    let is_in = |functions: &[&str]| functions.iter().any(|function| wchan.starts_with(function));
    if wchan.starts_with("futex_") {
        Some("futex")
    } else if is_in(&POLL) {
        Some("poll")
    } else {
        is_in(&SLEEP).then_some("nanosleep")
    }
}

struct Reader<'p, 'b> {
    place: Place<'p>,
    budget: &'b mut Budget,
}

impl Reader<'_, '_> {
    fn target(&mut self, fd: i32) -> Target {
        let mut file = FileKind::Unknown;
        if self.budget.lookups > 0 {
            self.budget.lookups -= 1;
            file = kind_of(self.place.pid, self.place.tid, fd);
        }
        Target { fd, file }
    }

    fn is_local(&mut self, inode: u64) -> bool {
        let pid = self.place.pid;
        let known = self.budget.local.get_or_insert_with(|| local_sockets(pid));
        known.contains(&inode)
    }

    /// All of them, or none.
    fn bytes(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; length];
        self.place.memory?.read_exact_at(&mut bytes, at).ok()?;
        Some(bytes)
    }
}

/// Listening ones are not connected (`net/unix/af_unix.c:unix_seq_show`). None is told where there are too many, or one
/// has a name that breaks the table's lines.
fn local_sockets(pid: u32) -> HashSet<u64> {
    let table = File::open(format!("/proc/{pid}/net/unix")).ok();
    let table = table.map(|table| BufReader::new(table.take(MAX_LOCAL)));
    let sockets = table.and_then(|table| UnixNetEntries::from_buf_read(table).ok());
    (sockets.into_iter().flat_map(|sockets| sockets.0))
        .filter(|socket| socket.state == UnixState::CONNECTED)
        .map(|socket| socket.inode)
        .collect()
}

const _: () = assert!(ARGUMENTS == 6);

#[cfg(test)]
mod tests;
