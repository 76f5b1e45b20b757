//! Everything the pure middle learns, in one type: what a recording holds and a replay feeds back.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use super::connection::{Connection, Moved, Relief, TcpFacts};
pub use super::counters::{CloseCount, Counters};
pub use super::endangered::{Endangered, OpenLook};
pub use super::epoll::{EpollChange, EpollOperation, Interest, LoopsWatched};
pub use super::task::{AsyncTask, Created};
pub use super::transition::{Task, Transition};
use super::{
    actor::{self, Actor, Goroutine},
    listeners::SocketListeners,
    report::{Hook, Host, Tool},
    samples::{Moments, Samples},
    socket::{Endpoints, Entry, History, Holders},
    stack::{Frame, FrameAddress, Stack},
    wait::Wait,
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    RunHeader(Box<RunHeader>),
    Transition(Transition),
    /// The kernel freed the socket.
    Destroyed(Transition),
    /// A socket that has sat in `CLOSE_WAIT` or CLOSE beyond the grace period, or lost its place in
    /// the kernel's table.
    StuckCandidate(StuckCandidate),
    /// Facts about a socket that is already followed.
    History {
        cookie: u64,
        history: History,
    },
    /// Everything that exists now, by the iterators.
    Inventory(Inventory),
    Process(Process),
    Threads {
        pid: u32,
        threads: Vec<Thread>,
    },
    /// Those that were just told of the process are its goroutines and the threads that are not the runtime's own.
    Goroutines {
        pid: u32,
        /// None is missing, and of each that waits it is known in what.
        all: bool,
    },
    /// The suspended tasks of a program that uses asyncio.
    Tasks {
        pid: u32,
        tasks: Vec<AsyncTask>,
    },
    /// Who listens to its sockets, of a program for Node.js.
    Listeners {
        pid: u32,
        sockets: Vec<SocketListeners>,
    },
    /// What the process's epoll sets watch.
    Epoll {
        pid: u32,
        interests: Vec<Interest>,
    },
    /// Whose operations on sockets are seen, where that is not everybody's; replaces what was said before.
    Evidence(Evidence),
    /// The processes a pid filter covers now.
    Followed(Vec<u32>),
    /// All sockets the asked-for processes have touched and that still live; replaces what was said
    /// before.
    Activity(Vec<Activity>),
    /// Open connections of theirs, and those their threads are blocked on; replaces the last ones.
    Connections(Vec<Connection>),
    Stack {
        key: u64,
        stack: Stack,
    },
    Counters(Counters),
    /// How sockets were closed since the first one was stuck; replaces what was said before.
    CloseCount(Vec<CloseCount>),
    /// How connections could be ended from outside; replaces what was said before.
    Relief(Relief),
    /// Changes to epoll sets by processes with stuck sockets, as they happened.
    EpollChanges(Vec<EpollChange>),
    /// All of them of a process, between two moments.
    LoopsWatched(LoopsWatched),
    Warning(Warning),
    /// The wall clock was set, or went on while the machine slept.
    Anchored(Anchor),
    /// The kernel said that a process ended.
    ProcessEnded {
        pid: u32,
        at: u64,
    },
    /// A report was made of what was known then: what it told stays told.
    Reported,
    Tick {
        at: u64,
    },
    /// The kernel said that a process executes another program from then on.
    Executed {
        pid: u32,
        at: u64,
    },
    OpenLook(OpenLook),
    /// Of threads that ran at the last look.
    Samples {
        pid: u32,
        threads: Vec<Samples>,
    },
}

/// One way in which the report knows less than it could.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Its kind, for machines: `file-replaced`.
    pub code: String,
    /// What it is about, where there can be several of a kind.
    pub subject: Option<String>,
    /// For a person.
    pub text: String,
}

impl Warning {
    /// An empty subject is none.
    pub fn new(code: &str, subject: &dyn fmt::Display, text: impl Into<String>) -> Self {
        let subject = subject.to_string();
        Self {
            code: code.to_owned(),
            subject: (!subject.is_empty()).then_some(subject),
            text: text.into(),
        }
    }
}

/// What tells one process from all others for as long as the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessKey {
    pub pid: u32,
    /// Start, nanoseconds of `CLOCK_BOOTTIME`; 0 when unknown.
    pub start_boot: u64,
}

/// The monotonic clock and the wall clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    pub at: u64,
    pub wall: Timestamp,
}

/// What was decided before the first event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    pub tool: Tool,
    pub host: Host,
    pub hooks: Vec<Hook>,
    pub warnings: Vec<String>,
    /// The monotonic clock and the wall clock at one moment.
    pub at: u64,
    pub wall: Timestamp,
    pub scope: Scope,
    /// Follows events (`watch`) or only looks once (`snapshot`).
    pub live: bool,
    /// The iterators show the processes of one pid namespace only; who else holds a socket is unknown.
    #[serde(default)]
    pub some_processes_unseen: bool,
    pub min_age_ns: u64,
    pub grace_ns: u64,
    /// One tree of processes is followed from its beginning, and nothing else; a socket that only an exit closed
    /// counts from this age.
    #[serde(default)]
    pub exit_age_ns: Option<u64>,
    #[serde(default)]
    pub observes: Observes,
}

/// Which operations on sockets are seen at all: only of these does none seen mean none made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observes {
    pub reads: bool,
    pub writes: bool,
}

/// Operations on sockets are seen only while something is stuck, and only those of the processes concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Since when the hooks are attached, if they are.
    pub attached: Option<u64>,
    /// The processes, and since when.
    pub processes: BTreeMap<u32, u64>,
    /// Someone should be watched and cannot be: there is nothing to wait for.
    #[serde(default)]
    pub unable: bool,
}

/// What the user asked to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    pub pids: Vec<u32>,
    pub comm: Option<String>,
    pub ports: Vec<u16>,
    pub cgroup: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckCandidate {
    pub cookie: u64,
    pub state: u8,
    pub since: u64,
    pub netns: u32,
    pub endpoints: Endpoints,
    pub entry: Entry,
    pub history: History,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// When the iteration began and ended: sockets born in between may or may not be in it.
    pub from: u64,
    pub to: u64,
    pub items: Vec<Item>,
    /// Every process that holds one of them.
    #[serde(default)]
    pub holders: Vec<ProcessKey>,
    /// Both iterators ran over every namespace: a socket that is not in it does not exist.
    pub complete: bool,
}

/// One socket of an inventory, with all its holders.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub cookie: u64,
    pub netns: u32,
    pub endpoints: Endpoints,
    pub state: u8,
    pub shutdown: u8,
    /// It has a `struct socket`: accepted, or opened by a process.
    pub has_socket: bool,
    pub dead: bool,
    pub inode: u64,
    pub recv_q: u32,
    pub send_q: u32,
    /// Last packet processed, nanoseconds; a lower bound of the age of what the packet caused.
    pub last_packet: u64,
    /// When data came in last, or when the connection was established: the peer's FIN came no earlier. 0 when
    /// not known.
    #[serde(default)]
    pub last_data: u64,
    /// Sequence numbers up to which the program has read and written.
    #[serde(default)]
    pub read_to: u32,
    #[serde(default)]
    pub written_to: u32,
    pub holders: Holders,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Start, nanoseconds of `CLOCK_BOOTTIME`; 0 when unknown.
    pub start_boot: u64,
    pub start_wall: Option<Timestamp>,
    pub comm: String,
    pub exe: Option<String>,
    pub cmdline: Option<String>,
    pub service: Option<String>,
    pub cgroup: Option<String>,
    pub parent: u32,
    /// The letter of /proc/PID/stat.
    pub state: char,
    pub threads: u32,
    pub fd_limit: Option<u64>,
    /// Open descriptors; `None` when they cannot be counted.
    #[serde(default)]
    pub open_fds: Option<u64>,
    /// Its cgroup is frozen.
    #[serde(default)]
    pub frozen: bool,
}

impl Process {
    pub fn key(&self) -> ProcessKey {
        ProcessKey {
            pid: self.pid,
            start_boot: self.start_boot,
        }
    }
}

/// A thread and what it is blocked in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    pub tid: u32,
    pub comm: String,
    pub state: char,
    pub syscall: Option<String>,
    pub fd: Option<i32>,
    pub stack: Vec<Frame>,
    /// The latest moment it can have been blocked: since then it has not run.
    #[serde(default)]
    pub since: Option<u64>,
    /// Inode of the socket behind `fd`.
    #[serde(default)]
    pub socket: Option<u64>,
    /// What its runtime calls it, where that says more than the kernel's 15 bytes.
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub wait: Wait,
    /// How often it had left a CPU to wait when it was looked at, being preempted not counted; 0 when unknown.
    #[serde(default)]
    pub switches: u64,
    /// When it began, or somewhat before (a machine that was suspended since); 0 when unknown.
    #[serde(default)]
    pub began: u64,
    /// Where the frames of `stack` lie, innermost first; empty when that is not known. Of a goroutine counted from the
    /// end of its stack, wrapping.
    #[serde(default)]
    pub frames_at: Vec<FrameAddress>,
    /// Not a thread but this goroutine; `tid` is that of the thread it is on, or 0.
    #[serde(default)]
    pub goroutine: Option<Goroutine>,
    #[serde(default)]
    pub created: Option<Created>,
    /// Not a thread but this task; it is on none while it is suspended.
    #[serde(default)]
    pub task: Option<actor::Task>,
    /// It runs, and was sampled: where that told calls, its stack is these. Added by the tracker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<Moments>,
}

impl Thread {
    pub fn actor(&self) -> Actor {
        match (self.goroutine, self.task) {
            (Some(goroutine), _) => Actor::Goroutine(goroutine),
            (None, Some(task)) => Actor::Task(task),
            (None, None) => Actor::Thread(self.tid),
        }
    }
}

/// What is remembered of a live socket, stuck or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    pub cookie: u64,
    pub history: History,
}

impl Input {
    /// The moment the input speaks of, where it has one.
    pub fn at(&self) -> Option<u64> {
        match self {
            Self::RunHeader(run_header) => Some(run_header.at),
            Self::Transition(change) | Self::Destroyed(change) => Some(change.at),
            Self::StuckCandidate(candidate) => Some(candidate.since),
            Self::Inventory(inventory) => Some(inventory.to),
            Self::OpenLook(look) => Some(look.at),
            Self::Tick { at } | Self::ProcessEnded { at, .. } | Self::Executed { at, .. } => {
                Some(*at)
            }
            _ => None,
        }
    }
}
