//! The report: the public JSON contract (docs/report.schema.json), also what every other sink
//! renders. Every field is always present; `null` means "not known", and fields are only ever added.

mod endangered;
mod facts;
mod listeners;

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cookie::Cookie;
use super::endpoint::{Endpoint, Peer, Remote};
use super::stack::Frame;
use super::tcp_state::TcpState;
use super::untrusted::Untrusted;
use super::verdict::{Confidence, Severity, Verdict};

pub use endangered::{AboutToBeStuck, Danger, EndangeredSocket};
pub use facts::{Ended, Over, Pool, PoolKind, Runs, Upstream, WaitKind, WaitsFor};
pub use listeners::{Emitter, EventListeners, Listeners};

/// The one version this build writes; a reader refuses any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchemaId {
    #[default]
    #[serde(rename = "sockleak.report/1")]
    V1,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub schema: SchemaId,
    pub tool: Tool,
    pub host: Host,
    pub hooks: Vec<Hook>,
    pub window: Window,
    pub totals: Totals,
    pub sites: Vec<Site>,
    /// Open connections that are likely to get stuck, the most first.
    #[serde(default)]
    pub about_to_be_stuck: Vec<AboutToBeStuck>,
    /// Every way in which this report knows less than it could.
    pub warnings: Vec<String>,
}

impl Report {
    /// Worst first; the order every sink shows.
    pub fn sort_sites(&mut self) {
        self.sites.sort_by(Site::worst_first);
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    pub version: String,
    /// `None` when no kernel program took part, as in the replay of a recording without one.
    pub bpf_object_sha256: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub boot_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub name: String,
    pub kind: String,
    pub status: HookStatus,
    /// Why it is not attached as wished; `None` when it is.
    pub reason: Option<String>,
}

impl Hook {
    /// The reason of one on standby, which may have another besides.
    pub const ON_DEMAND: &str = "attached once something is stuck (--evidence leaking)";
    /// The same of the hook on event loops.
    pub const IN_WINDOWS: &str = "attached for ten seconds at a time, once something is stuck in a process with an epoll set";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookStatus {
    Attached,
    Degraded,
    Unavailable,
    /// Works, and is attached only while something is stuck.
    Standby,
}

impl HookStatus {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
            Self::Standby => "standby",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
    pub events: EventCounts,
    /// False after a loss that could not be repaired: such a report never says "clean".
    pub complete: bool,
    /// The age from which a socket counts as stuck (`--min-age`).
    #[serde(default)]
    pub min_age_seconds: Option<f64>,
    /// The age from which it counts when an exit closes it (`run --exit-age`).
    #[serde(default)]
    pub exit_age_seconds: Option<f64>,
}

/// What the kernel program had to tell, by the ring or by its table: sockets that are or were stuck. A
/// healthy socket causes none. Invariants of a lossless run: `seen = submitted`, `submitted = received`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    pub seen: u64,
    pub submitted: u64,
    pub received: u64,
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub close_wait: u64,
    pub stuck: u64,
    pub unaccepted: u64,
    /// Closed by the kernel with the descriptor still open: not in `ss`, `netstat`, /proc/net/tcp.
    pub hidden: u64,
    pub suppressed: u64,
    /// In the sites as well, but perhaps for less than `min_age_seconds`.
    #[serde(default)]
    pub undecided: u64,
    /// Stuck during this run, and gone before they were looked at: no site tells of them.
    #[serde(default)]
    pub unjudged: u64,
}

/// Sockets of one executable that are stuck for the same reason at the same place in its code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// Stable across runs: hash of verdict, module build-id and function offsets.
    pub id: String,
    /// Stable across builds and verdicts: a hash of the names of the blamed function and two callers,
    /// with the number of the scheme before it.
    #[serde(default)]
    pub fingerprint: String,
    pub verdict: Verdict,
    pub confidence: Confidence,
    pub severity: Severity,
    pub summary: String,
    pub evidence: Vec<String>,
    pub advice: String,
    pub count: u64,
    pub first_seen: Timestamp,
    pub oldest_seconds: f64,
    pub age_is_lower_bound: bool,
    /// The longest that the oldest can have been stuck; `None` when not known.
    #[serde(default)]
    pub age_seconds_at_most: Option<f64>,
    /// `None` when the window was too short to tell.
    pub growth_per_minute: Option<f64>,
    /// `None` when no process holds the sockets (descriptor in flight).
    pub process: Option<Process>,
    /// How many processes share the site; `process` is the one with most of its sockets.
    #[serde(default)]
    pub processes: u32,
    /// The address the sockets share on this host; `None` when they differ (outgoing connections).
    pub local: Option<Endpoint>,
    /// Ports of this host they came in through, ascending; of outgoing connections those they went to.
    #[serde(default)]
    pub ports: Vec<u16>,
    pub peers: Vec<Peer>,
    /// `None` when the sockets are older than the tracer and nothing tells which side connected.
    pub direction: Option<Direction>,
    pub blame: Option<Blame>,
    pub stacks: Stacks,
    /// Which of these stacks lack their outermost callers.
    #[serde(default)]
    pub truncated_stacks: Vec<StackName>,
    /// Sockets opened at the same place that were closed since the first one was stuck; `None` when
    /// that was not seen.
    #[serde(default)]
    pub siblings_closed: Option<u64>,
    /// At most `--sockets-per-site`, oldest first.
    pub sockets: Vec<Socket>,
    pub sockets_omitted: u64,
    /// None of its sockets is stuck any more.
    #[serde(default)]
    pub over: Option<Over>,
    /// Whom the program waits for before it serves these sockets.
    #[serde(default)]
    pub upstream: Option<Upstream>,
    /// The workers that should serve them.
    #[serde(default)]
    pub pool: Option<Pool>,
    /// A command that frees the sockets without ending the process.
    #[serde(default)]
    pub relief: Option<String>,
    /// Who listens to the oldest, in a program for Node.js.
    #[serde(default)]
    pub listeners: Option<Listeners>,
    /// `None` where there was one run only.
    #[serde(default)]
    pub runs: Option<Runs>,
}

impl Site {
    /// All its sockets may be younger than the threshold.
    pub fn is_undecided(&self, min_age_seconds: f64) -> bool {
        self.age_is_lower_bound && self.over.is_none() && self.oldest_seconds < min_age_seconds
    }

    /// Severity, then size, then age; the id last so that equal sites keep their order between runs.
    pub fn worst_first(&self, other: &Self) -> Ordering {
        (other.severity.cmp(&self.severity))
            .then_with(|| other.count.cmp(&self.count))
            .then_with(|| other.oldest_seconds.total_cmp(&self.oldest_seconds))
            .then_with(|| self.id.cmp(&other.id))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    pub start_time: Option<Timestamp>,
    pub comm: Untrusted,
    pub exe: Option<Untrusted>,
    /// systemd unit, else container, else comm.
    pub service: Option<Untrusted>,
    pub cgroup: Option<Untrusted>,
    /// Only with `--show-cmdline`: command lines can hold secrets.
    #[serde(default)]
    pub cmdline: Option<Untrusted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Accepted,
    Connected,
    Unaccepted,
}

/// The first application frame of the stack that tells most about the verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// `module+0xoffset` when no symbol covers the address, never an invented name.
    pub function: Untrusted,
    pub module: Option<Untrusted>,
    pub file: Option<Untrusted>,
    pub line: Option<u32>,
    pub inlined: bool,
    /// Says in which build an unnamed `module+0xoffset` is.
    #[serde(default)]
    pub build_id: Option<String>,
    /// It is in this library, for none of the program's own functions is on the stack.
    #[serde(default)]
    pub library: Option<Untrusted>,
}

impl From<&Frame> for Blame {
    fn from(frame: &Frame) -> Self {
        Self {
            function: Untrusted::new(frame.function.clone().unwrap_or_else(|| frame.place())),
            module: frame.module.clone().map(Untrusted::new),
            file: frame.file.clone().map(Untrusted::new),
            line: frame.line,
            inlined: frame.inlined,
            build_id: frame.build_id.clone(),
            library: None,
        }
    }
}

impl Frame {
    /// Where an unnamed frame is: `module+0xoffset`, or the bare address outside any module.
    pub fn place(&self) -> String {
        match &self.module {
            Some(module) => format!("{module}+{:#x}", self.offset),
            None => format!("{:#x}", self.offset),
        }
    }
}

/// The moments of a socket's life at which the owner's stack was taken, innermost frame first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stacks {
    pub opened: Option<Vec<Frame>>,
    pub eof: Option<Vec<Frame>>,
    pub last_used: Option<Vec<Frame>>,
    /// Where they were taken out of the event loop, if that is the cause.
    #[serde(default)]
    pub taken_out: Option<Vec<Frame>>,
    /// Where healthy sockets opened at the same place were closed.
    pub sibling_close: Option<Vec<Frame>>,
    pub holders: Vec<Holder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StackName {
    Opened,
    Eof,
    LastUsed,
    TakenOut,
    SiblingClose,
    Holders,
}

/// A thread that holds the sockets or keeps them from being served, and what it does now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub tid: u32,
    pub comm: Untrusted,
    /// The letter of /proc/PID/stat: R, S, D, T, Z…
    pub state: Option<char>,
    pub syscall: Option<String>,
    pub fd: Option<i32>,
    /// It has been blocked for at least this long.
    pub since_seconds: Option<f64>,
    pub stack: Vec<Frame>,
    /// What its runtime calls it, where that says more than `comm`: the name of a Java thread.
    #[serde(default)]
    pub name: Option<Untrusted>,
    #[serde(default)]
    pub waits_for: Option<WaitsFor>,
    /// How often it was seen on a CPU, where it was sampled.
    #[serde(default)]
    pub samples: Option<u32>,
    /// It is not a thread but this goroutine; `tid` is that of the thread it is on, or 0.
    #[serde(default)]
    pub goroutine: Option<u64>,
}

impl Holder {
    pub fn called(&self) -> &Untrusted {
        self.name.as_ref().unwrap_or(&self.comm)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    pub cookie: Cookie,
    pub netns: u32,
    /// `None` for a connection nobody accepted: it has no inode yet.
    pub inode: Option<u64>,
    pub family: Family,
    pub local: Endpoint,
    pub remote: Remote,
    pub state: TcpState,
    pub age_seconds: f64,
    pub age_is_lower_bound: bool,
    /// The same as `age_seconds` when the beginning was seen; `None` when not known.
    #[serde(default)]
    pub age_seconds_at_most: Option<f64>,
    pub recv_q: Option<u64>,
    pub send_q: Option<u64>,
    pub fds: Vec<FdRef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    Inet,
    Inet6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FdRef {
    pub pid: u32,
    pub fd: i32,
}
