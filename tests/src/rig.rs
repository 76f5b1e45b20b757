//! One running rig: started, driven until its sockets are stuck, and gone when dropped.
use crate::backend::Backend;
use crate::client::{self, Manner, Upstream};
use crate::haproxy::Haproxy;
use crate::lines::Lines;
use crate::manifest::Entry;
use crate::prometheus::Prometheus;
use crate::wait::wait_for;
use crate::{compile, process, prometheus, ss};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Rig {
    pub entry: Entry,
    pub port: u16,
    pub started: Instant,
    /// How many sockets this rig holds stuck; 0 for the healthy twin.
    pub stuck: usize,
    /// The clients' ends, in the order they connected; those of the warm-up only if they get stuck.
    pub clients: Vec<SocketAddr>,
    pinned: Vec<TcpStream>,
    child: Child,
    output: Lines,
    /// Dropped after the rig has ended.
    backend: Option<Backend>,
}

/// How to start a rig, where that differs from the manifest.
#[derive(Debug, Default)]
pub struct Start<'a> {
    pub healthy: bool,
    /// Instead of the manifest's count.
    pub connections: Option<usize>,
    pub port: u16,
    /// A command that execs its arguments, as `ip netns exec NAME` does.
    pub prefix: &'a [&'a str],
}

impl Rig {
    /// Starts the rig as the manifest says.
    pub fn leaking(entry: &Entry) -> Self {
        let mut rig = Self::start(entry, &Start::default());
        rig.drive();
        rig
    }

    /// Starts the rig's healthy twin and gives it the same traffic.
    pub fn healthy(entry: &Entry) -> Self {
        let mut rig = Self::start(
            entry,
            &Start {
                healthy: true,
                ..Start::default()
            },
        );
        rig.drive();
        rig
    }

    /// Starts the rig and waits until it listens.
    pub fn start(entry: &Entry, how: &Start<'_>) -> Self {
        let count = how.connections.unwrap_or(entry.count);
        let upstream = Upstream::start(entry.client, count);
        let port = upstream.as_ref().map_or(how.port, Upstream::port);
        let mut words: Vec<OsString> = how.prefix.iter().map(OsString::from).collect();
        words.extend(compile::command(entry).into_iter().map(OsString::from));
        words.extend(entry.args.iter().map(OsString::from));
        let backend = entry.upstream.map(Backend::start);
        if let Some(backend) = &backend {
            words.extend(["--upstream".into(), backend.port().to_string().into()]);
        }
        words.extend(["--port".into(), port.to_string().into()]);
        words.extend(["--connections".into(), count.to_string().into()]);
        words.extend(how.healthy.then(|| "--healthy".into()));
        let started = Instant::now();
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", entry.name));
        let output = Lines::of(child.stdout.take().expect("the rig's output"));
        let stuck = if how.healthy { 0 } else { count };
        let entry = Entry {
            count,
            ..entry.clone()
        };
        let clients = Vec::new();
        let mut rig = Self {
            entry,
            port,
            started,
            stuck,
            clients,
            pinned: Vec::new(),
            child,
            output,
            backend,
        };
        rig.port = rig.said("ready ").parse().expect("a port after ready");
        rig
    }

    /// Plays the clients and waits until the rig says that all of its sockets are stuck.
    pub fn drive(&mut self) {
        let address = self.address();
        let manner = self.entry.client;
        let is_client = matches!(manner, Manner::Upstream | Manner::BigUpstream);
        if !is_client {
            self.pinned = client::pin(address, self.entry.pins);
            if self.stuck == 0 && self.entry.pins > 0 {
                // Half of the time limit of a healthy server is over, or whom it keeps waiting would wait for as long
                // as is told of.
                std::thread::sleep(Duration::from_millis(500));
            }
            let first = client::visit(address, self.entry.warm_up, Manner::ReplyThenClose);
            if self.entry.also.is_some() {
                self.clients = first;
            }
        }
        match manner {
            _ if is_client => {}
            Manner::Prometheus => return self.scraped(),
            Manner::ThroughHaproxy => return self.proxied(),
            _ => {
                let these = client::visit(address, self.entry.count, manner);
                self.clients.extend(these);
            }
        }
        self.wait_until_stuck();
    }

    /// Lets a real Prometheus do what it does until the rig has enough, and then end: what else it
    /// had under way gets stuck too, so the count is what there is and not what was asked for.
    /// Beyond a few, other scrapers with a time limit come beside it, for it is slow.
    fn scraped(&mut self) {
        let address = self.address();
        let prometheus = Prometheus::scrape(address);
        let others = self.entry.count.saturating_sub(prometheus::JOBS);
        client::visit(address, others, Manner::GiveUp);
        self.wait_until_stuck();
        drop(prometheus);
        if self.stuck > 0 {
            self.count_what_is_stuck();
        }
    }

    /// The rig's clients are the connections of a real haproxy, which ends afterwards.
    fn proxied(&mut self) {
        let haproxy = Haproxy::before(self.address());
        client::visit(haproxy.address, self.entry.count, Manner::ReplyThenClose);
        self.wait_until_stuck();
        drop(haproxy);
        if self.stuck > 0 {
            self.count_what_is_stuck();
        }
    }

    /// Takes the clients and the count from `ss`, once every client but the pinned ones has left.
    fn count_what_is_stuck(&mut self) {
        let pinned = self.pinned.len();
        let left = || ss::established(self.port) == pinned;
        wait_for("every client has left", PATIENCE, left);
        let peer = |(_, peer): (String, String)| peer.parse().expect("an address");
        self.clients = ss::close_wait(self.port).into_iter().map(peer).collect();
        self.stuck = self.clients.len();
        self.entry.count = self.stuck;
    }

    /// Waits for the rig's own word that its sockets are stuck.
    pub fn wait_until_stuck(&self) {
        assert_eq!(
            self.said("leaking "),
            self.stuck.to_string(),
            "{}",
            self.entry.name
        );
    }

    pub fn address(&self) -> SocketAddr {
        let v6 = self
            .entry
            .args
            .windows(2)
            .any(|pair| pair == ["--family", "6"]);
        let loopback = if v6 {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        SocketAddr::new(loopback, self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pid of the child that holds the sockets, for rigs that have one.
    pub fn helper(&self) -> u32 {
        self.said("helper ").parse().expect("a pid after helper")
    }

    /// Connections it has made to the service behind it.
    pub fn to_upstream(&self) -> usize {
        self.backend.as_ref().map_or(0, Backend::accepted)
    }

    pub fn upstream_port(&self) -> Option<u16> {
        self.backend.as_ref().map(Backend::port)
    }

    /// When the rig began to wait, nanoseconds of wall time, for rigs that say so.
    pub fn waits_since(&self) -> u64 {
        self.said("waits ").parse().expect("a time after waits")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        process::signal(&self.child, signal);
    }

    /// What it says in a line that begins so.
    pub fn said(&self, prefix: &str) -> String {
        self.output.after(prefix, PATIENCE).unwrap_or_else(|| {
            panic!(
                "{}: no `{prefix}` but {:?}",
                self.entry.name,
                self.output.so_far()
            )
        })
    }

    /// The end of stdin ends a rig; one that does not notice is killed.
    pub fn end(&mut self) {
        self.end_within(Duration::from_secs(2));
    }

    /// How it, or what it was started by, has ended; `None` when it had to be killed.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.end_within(PATIENCE)
    }

    fn end_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        drop(self.child.stdin.take());
        process::signal(&self.child, rustix::process::Signal::CONT);
        process::wait(&mut self.child, limit)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.end();
    }
}
