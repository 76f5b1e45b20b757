//! What a thread waits for: one enum, made where the thread was looked at, from the registers with which
//! it entered the kernel. The rules ask this and never the number or the name of a system call.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wait {
    /// On a CPU, or ready for one.
    Running,
    /// `poll` and `select`: until one of these descriptors is ready.
    Poll(Polled),
    /// `epoll_wait` on the set behind this descriptor; its members are `Input::Epoll`'s of that set.
    Epoll {
        set: u32,
    },
    Receive(Target),
    Send(Target),
    Connect(Target),
    Accept(Target),
    /// A lock whose owner could be told: a thread that lives, and held it at both looks.
    Lock {
        address: u64,
        owner: Option<u32>,
    },
    /// A futex that is not proven to be a lock: a condition, a semaphore, or a lock of some runtime.
    Futex {
        address: u64,
    },
    /// A goroutine, for another one to take what it sends or to send something.
    Channel {
        sends: bool,
    },
    /// A goroutine, for any of several channels.
    Select,
    /// A goroutine, for a condition to be signalled.
    Condition,
    /// A goroutine, for a number of others to be done (`sync.WaitGroup`).
    Group,
    /// A task, for another one or for a callback of its event loop.
    Task,
    Sleep,
    Disk,
    Child,
    Signal,
    IoUring,
    /// By a signal, a tracer, or a frozen cgroup.
    Stopped,
    /// A system call that is not decoded.
    Other,
    /// The thread could not be looked at while it stood still.
    #[default]
    Unknown,
}

/// The descriptors of a `poll` or `select`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polled {
    pub members: Vec<Member>,
    /// All of them could be read: what is not here is not waited for.
    pub complete: bool,
    /// By `select`, which cannot name descriptors from 1024 on.
    pub select: bool,
    /// It ends by itself.
    pub times_out: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub target: Target,
    pub input: bool,
    pub output: bool,
}

/// The file behind a descriptor when the thread was looked at. Only what was opened before the wait began
/// is what the thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub fd: i32,
    pub file: FileKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// With its inode. Of any family: only those that are TCP sockets are found among connections.
    Socket(u64),
    Pipe,
    EventFd,
    TimerFd,
    EpollSet,
    /// A terminal, a regular file, any device.
    Other,
    #[default]
    Unknown,
    /// A Unix socket with another end, such as one of a pair that wakes a thread up: no new connection comes by it.
    /// Told from sockets of other families only where several are waited for.
    LocalSocket,
}

impl FileKind {
    /// The inode of a socket.
    pub const fn socket(self) -> Option<u64> {
        match self {
            Self::Socket(inode) => Some(inode),
            _ => None,
        }
    }
}

impl Wait {
    /// The one file it waits for, whatever for.
    pub fn target(&self) -> Option<Target> {
        match self {
            Self::Receive(target)
            | Self::Send(target)
            | Self::Connect(target)
            | Self::Accept(target) => Some(*target),
            Self::Poll(polled) => match polled.members.as_slice() {
                [only] if polled.complete => Some(only.target),
                _ => None,
            },
            _ => None,
        }
    }

    /// All sockets it waits for, but for listeners in `accept`.
    pub fn sockets(&self) -> impl Iterator<Item = u64> {
        let members = match self {
            Self::Poll(polled) => polled.members.as_slice(),
            _ => &[],
        };
        let one = match self {
            Self::Receive(target) | Self::Send(target) | Self::Connect(target) => Some(*target),
            _ => None,
        };
        let targets = members.iter().map(|member| member.target).chain(one);
        targets.filter_map(|target| target.file.socket())
    }

    /// The socket it waits for, whatever for.
    pub fn socket(&self) -> Option<u64> {
        self.target()?.file.socket()
    }
}
