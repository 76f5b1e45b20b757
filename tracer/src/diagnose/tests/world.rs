//! A small world to diagnose: a server, its listener, its connections, and a clock.

use jiff::Timestamp;
use tracer_common::state::LISTEN;

pub use super::conn::{Conn, conn, operation};
use crate::{
    diagnose::{self, Style},
    model::{
        input::{
            Activity, Connection, Counters, Input, Interest, Inventory, Observes, Process,
            RunHeader, Scope, Thread,
        },
        report::{Host, Report, Site, Tool},
        socket::History,
        stack::{Frame, Stack},
        wait::Wait,
    },
    track::Tracker,
};

pub const S: u64 = 1_000_000_000;
/// Tracing begins, a connection becomes stuck unless said otherwise, and the report is made.
pub const START: u64 = 1000 * S;
pub const STUCK: u64 = START + 10 * S;
pub const END: u64 = START + 100 * S;
pub const MIN_AGE: u64 = 60 * S;

pub const SERVER: u32 = 100;

/// A frame of the server; its offset stands for its place in the code.
pub fn frame(function: &str, offset: u64) -> Frame {
    Frame {
        function: Some(function.to_owned()),
        module: Some("server".to_owned()),
        offset,
        build_id: Some("b01d".to_owned()),
        ..Frame::default()
    }
}

pub fn libc(function: &str) -> Frame {
    Frame {
        module: Some("libc.so.6".to_owned()),
        build_id: Some("11bc".to_owned()),
        ..frame(function, 77)
    }
}

pub fn thread(tid: u32, syscall: &str, stack: Vec<Frame>) -> Thread {
    Thread {
        tid,
        comm: format!("worker-{tid}"),
        state: 'S',
        syscall: Some(syscall.to_owned()),
        fd: None,
        stack,
        since: None,
        socket: None,
        name: None,
        frames_at: Vec::new(),
        wait: Wait::default(),
        switches: 0,
        began: 0,
        goroutine: None,
        created: None,
        sampled: None,
        task: None,
    }
}

pub fn process(pid: u32) -> Process {
    Process {
        pid,
        start_boot: u64::from(pid),
        start_wall: None,
        comm: "server".to_owned(),
        exe: Some("/usr/bin/server".to_owned()),
        cmdline: None,
        service: None,
        cgroup: Some("/system.slice/server.service".to_owned()),
        parent: 1,
        state: 'S',
        threads: 1,
        fd_limit: None,
        open_fds: None,
        frozen: false,
    }
}

pub struct World {
    pub run_header: RunHeader,
    pub conns: Vec<Conn>,
    pub inputs: Vec<Input>,
}

/// A server of one idle thread that uses no epoll; every hook works, nothing is lost.
pub fn world(conns: impl IntoIterator<Item = Conn>) -> World {
    let world = World {
        run_header: RunHeader {
            tool: Tool::default(),
            host: Host::default(),
            hooks: Vec::new(),
            warnings: Vec::new(),
            at: START,
            wall: Timestamp::from_second(1_000_000).unwrap(),
            scope: Scope::default(),
            live: true,
            some_processes_unseen: false,
            min_age_ns: MIN_AGE,
            grace_ns: S,
            exit_age_ns: None,
            observes: Observes {
                reads: true,
                writes: true,
            },
        },
        conns: conns.into_iter().collect(),
        inputs: Vec::new(),
    };
    world
        .with_process(process(SERVER))
        .with_threads(
            SERVER,
            vec![thread(SERVER, "accept", vec![frame("main", 9)])],
        )
        .with_epoll(SERVER, &[])
        .with_stack(1, vec![libc("accept"), frame("accept_loop", 10)])
        .with_stack(
            2,
            vec![libc("recv"), frame("handle", 20), frame("accept_loop", 11)],
        )
        .with_stack(
            3,
            vec![libc("recv"), frame("drain", 30), frame("accept_loop", 12)],
        )
}

impl World {
    pub fn with(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    pub fn with_process(self, process: Process) -> Self {
        self.with(Input::Process(process))
    }

    pub fn with_threads(self, pid: u32, threads: Vec<Thread>) -> Self {
        self.with(Input::Threads { pid, threads })
    }

    /// Descriptors in the process's epoll sets.
    pub fn with_epoll(self, pid: u32, fds: &[u32]) -> Self {
        let interests = fds
            .iter()
            .map(|fd| Interest {
                fd: *fd,
                events: 1,
                inode: 0,
                set: 0,
            })
            .collect();
        self.with(Input::Epoll { pid, interests })
    }

    /// What else the processes have touched, and which of it is open.
    pub fn with_neighbours(self, neighbours: &[(u64, History, Connection)]) -> Self {
        let activity = |(cookie, history, _): &(u64, History, Connection)| Activity {
            cookie: *cookie,
            history: *history,
        };
        let activity = neighbours.iter().map(activity).collect();
        let open = neighbours.iter().map(|(.., connection)| *connection);
        self.with(Input::Activity(activity))
            .with(Input::Connections(open.collect()))
    }

    pub fn with_stack(self, key: u64, frames: Vec<Frame>) -> Self {
        let truncated = false;
        self.with(Input::Stack {
            key,
            stack: Stack {
                frames,
                truncated,
                one_of_several: false,
                of_end: false,
                kind: None,
                thread: None,
                pid: None,
                frames_at: Vec::new(),
            },
        })
    }

    pub fn with_lost(self, lost: u64) -> Self {
        let counters = Counters {
            seen: lost,
            lost,
            ..Counters::default()
        };
        self.with(Input::Counters(counters))
    }

    /// Nothing of this kind was looked at.
    pub fn without(mut self, is: impl Fn(&Input) -> bool) -> Self {
        self.inputs.retain(|input| !is(input));
        self
    }

    pub fn blind_to_reads(mut self) -> Self {
        self.run_header.observes.reads = false;
        self
    }

    pub fn blind_to_writes(mut self) -> Self {
        self.run_header.observes.writes = false;
        self
    }

    pub fn with_listener(mut self, local: &str, pids: &[u32], waiting: u32) -> Self {
        let mut listener = conn(250).at(local, "0.0.0.0:0").held_by(pids);
        listener.item.state = LISTEN;
        listener.item.recv_q = waiting;
        listener.item.send_q = 128;
        listener.followed = false;
        self.conns.push(listener);
        self
    }

    pub fn tracker(self) -> Tracker {
        let mut tracker = Tracker::default();
        tracker.apply(Input::RunHeader(Box::new(self.run_header)));
        for conn in self.conns.iter().filter(|conn| conn.followed) {
            tracker.apply(Input::StuckCandidate(conn.candidate));
        }
        // What is observed belongs to the inventory that began just before.
        tracker.apply(Input::Tick { at: END - S });
        self.inputs
            .into_iter()
            .for_each(|input| tracker.apply(input));
        tracker.apply(Input::Inventory(Inventory {
            from: END - S,
            to: END,
            items: self.conns.into_iter().map(|conn| conn.item).collect(),
            holders: Vec::new(),
            complete: true,
        }));
        tracker
    }

    pub fn report(self) -> Report {
        report(&self.tracker())
    }

    /// The one site there must be.
    pub fn site(self) -> Site {
        let mut sites = self.report().sites;
        assert_eq!(sites.len(), 1, "{:?}", names(&sites));
        sites.remove(0)
    }

    /// The verdict of the one site, with its confidence and severity.
    pub fn verdict(self) -> String {
        let site = self.site();
        format!(
            "{} {} {}",
            site.verdict,
            site.confidence.name(),
            site.severity.name()
        )
    }
}

pub fn names(sites: &[Site]) -> Vec<String> {
    sites.iter().map(|site| site.verdict.to_string()).collect()
}

pub fn report(tracker: &Tracker) -> Report {
    let application = |frames: &[Frame]| {
        let is_of_program = |frame: &Frame| frame.module.as_deref() != Some("libc.so.6");
        let is_own = |frame: &Frame| is_of_program(frame) && frame.tier.is_none();
        let mut own = frames.iter();
        own.position(is_own)
            .or_else(|| frames.iter().position(is_of_program))
    };
    let style = Style {
        sockets_per_site: 5,
    };
    diagnose::report(tracker, style, &application)
        .unwrap()
        .report
}
