//! The report as a user of `--json` reads it: only the fields the tests look at, all of them
//! required where the contract requires them.
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    pub schema: String,
    pub hooks: Vec<Hook>,
    pub window: Window,
    pub totals: Totals,
    pub sites: Vec<Site>,
    pub about_to_be_stuck: Vec<AboutToBeStuck>,
    pub warnings: Vec<String>,
}

/// Open connections that are likely to get stuck.
#[derive(Debug, Clone, Deserialize)]
pub struct AboutToBeStuck {
    pub danger: String,
    pub summary: String,
    pub process: Option<Process>,
    pub sockets: Vec<Endangered>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Endangered {
    pub local: String,
    pub watched_seconds: f64,
    pub recv_q: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Hook {
    pub name: String,
    pub kind: String,
    pub status: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Window {
    pub start: String,
    pub end: String,
    pub events: Events,
    pub complete: bool,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Events {
    pub seen: u64,
    pub submitted: u64,
    pub received: u64,
    pub lost: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Totals {
    pub close_wait: u64,
    pub stuck: u64,
    pub unaccepted: u64,
    pub hidden: u64,
    pub suppressed: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Site {
    pub id: String,
    pub verdict: String,
    pub confidence: String,
    pub severity: String,
    pub summary: String,
    pub evidence: Vec<String>,
    pub advice: String,
    pub count: usize,
    pub oldest_seconds: f64,
    pub age_is_lower_bound: bool,
    pub process: Option<Process>,
    pub local: Option<String>,
    pub peers: Vec<String>,
    pub direction: Option<String>,
    pub blame: Option<Blame>,
    pub stacks: Stacks,
    pub sockets: Vec<Socket>,
    pub sockets_omitted: usize,
    pub siblings_closed: Option<u64>,
    pub over: Option<Over>,
    /// Commands that end the connections a finding rests on.
    #[serde(default)]
    pub relief: Option<String>,
    /// Of a program for Node.js.
    #[serde(default)]
    pub listeners: Option<Listeners>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Listeners {
    pub allow_half_open: Option<bool>,
    pub end_is_heard: Option<bool>,
    pub events: Vec<EventListeners>,
    /// The event whose listener is blamed.
    pub blamed: Option<String>,
    pub unknown: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct EventListeners {
    pub event: String,
    pub of: String,
    pub functions: Vec<Blame>,
}

/// A finding none of whose sockets is stuck any more.
#[derive(Debug, Clone, Deserialize)]
pub struct Over {
    pub how: Option<String>,
    pub longest_seconds: f64,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Process {
    pub pid: u32,
    pub comm: String,
    pub exe: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Blame {
    pub function: String,
    pub module: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
    pub inlined: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Stacks {
    pub opened: Option<Vec<Frame>>,
    pub eof: Option<Vec<Frame>>,
    pub last_used: Option<Vec<Frame>>,
    pub taken_out: Option<Vec<Frame>>,
    pub sibling_close: Option<Vec<Frame>>,
    pub holders: Option<Vec<HolderThread>>,
}

impl Stacks {
    /// The stack in the field called `field`; for `holders` those of its threads.
    pub fn named(&self, field: &str) -> Vec<Vec<Frame>> {
        let one = |stack: &Option<Vec<Frame>>| stack.iter().cloned().collect();
        match field {
            "opened" => one(&self.opened),
            "eof" => one(&self.eof),
            "last_used" => one(&self.last_used),
            "taken_out" => one(&self.taken_out),
            "sibling_close" => one(&self.sibling_close),
            "holders" => {
                let threads = self.holders.iter().flatten();
                threads.filter_map(|thread| thread.stack.clone()).collect()
            }
            "any" => [
                "opened",
                "eof",
                "last_used",
                "taken_out",
                "sibling_close",
                "holders",
            ]
            .iter()
            .flat_map(|field| self.named(field))
            .collect(),
            other => panic!("no stack is called {other}"),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Frame {
    pub function: Option<String>,
    pub module: Option<String>,
    pub offset: u64,
    pub build_id: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

impl Frame {
    /// How blame names this frame: by its function, or by its place when that has no name.
    pub fn name(&self) -> String {
        let module = self.module.as_deref().unwrap_or_default();
        let place = || format!("{module}+{:#x}", self.offset);
        self.function.clone().unwrap_or_else(place)
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct HolderThread {
    pub pid: u32,
    pub comm: String,
    pub name: Option<String>,
    pub state: Option<String>,
    pub syscall: Option<String>,
    pub fd: Option<u32>,
    pub since_seconds: Option<f64>,
    pub stack: Option<Vec<Frame>>,
    pub samples: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Socket {
    pub cookie: String,
    pub netns: u64,
    /// `None` for a connection nobody accepted.
    pub inode: Option<u64>,
    pub family: String,
    pub local: String,
    pub remote: String,
    pub state: String,
    pub age_seconds: f64,
    pub age_is_lower_bound: bool,
    pub recv_q: Option<u64>,
    pub fds: Vec<Descriptor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Descriptor {
    pub pid: u32,
    pub fd: u32,
}

impl Site {
    /// Its sockets are stuck in the end, or only an exit has closed them.
    pub fn is_of_the_end(&self) -> bool {
        let how = self.over.as_ref().map(|over| over.how.as_deref());
        how.is_none_or(|how| how == Some("exit"))
    }
}

impl Report {
    /// Runs that the kernel left out because one of the same program was under way on that processor, as
    /// when packets arrive in the middle of a `connect()`: admitted, and repaired where the window is complete.
    pub fn skipped_runs(&self) -> u64 {
        let skipped = |line: &&String| line.contains("the kernel skipped a nested run");
        let number = |line: &String| line.split(' ').next()?.parse::<u64>().ok();
        self.warnings
            .iter()
            .filter(skipped)
            .filter_map(number)
            .sum()
    }

    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("not a report: {error}\n{text}"))
    }

    /// The sites which show a socket with this port on either end.
    pub fn on_port(&self, port: u16) -> Vec<&Site> {
        let port = format!(":{port}");
        let ends_so =
            |socket: &Socket| socket.local.ends_with(&port) || socket.remote.ends_with(&port);
        self.sites
            .iter()
            .filter(|site| site.sockets.iter().any(ends_so))
            .collect()
    }
}
