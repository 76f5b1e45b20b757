//! One running rig: started, driven until its sockets are stuck, and gone when dropped.
use crate::client::{self, Manner, Upstream};
use crate::lines::Lines;
use crate::manifest::Entry;
use crate::{compile, process};
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Rig {
    pub entry: Entry,
    pub port: u16,
    pub started: Instant,
    /// How many sockets this rig holds stuck; 0 for the healthy twin.
    pub stuck: usize,
    /// The clients' ends, in the order they connected.
    pub clients: Vec<SocketAddr>,
    pinned: Vec<TcpStream>,
    child: Child,
    output: Lines,
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
        let upstream = (entry.client == Manner::Upstream).then(|| Upstream::start(count));
        let port = upstream.as_ref().map_or(how.port, Upstream::port);
        let mut words: Vec<OsString> = how.prefix.iter().map(OsString::from).collect();
        words.extend(compile::command(entry).into_iter().map(OsString::from));
        words.extend(entry.args.iter().map(OsString::from));
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
        };
        rig.port = rig.said("ready ").parse().expect("a port after ready");
        rig
    }

    /// Plays the clients and waits until the rig says that all of its sockets are stuck.
    pub fn drive(&mut self) {
        let address = self.address();
        if self.entry.client != Manner::Upstream {
            self.pinned = client::pin(address, self.entry.pins);
            client::visit(address, self.entry.warm_up, Manner::ReplyThenClose);
            self.clients = client::visit(address, self.entry.count, self.entry.client);
        }
        self.wait_until_stuck();
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

    /// When the rig began to wait, nanoseconds of wall time, for rigs that say so.
    pub fn waits_since(&self) -> u64 {
        self.said("waits ").parse().expect("a time after waits")
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        process::signal(&self.child, signal);
    }

    fn said(&self, prefix: &str) -> String {
        self.output.after(prefix, PATIENCE).unwrap_or_else(|| {
            panic!(
                "{}: no `{prefix}` but {:?}",
                self.entry.name,
                self.output.so_far()
            )
        })
    }
}

impl Drop for Rig {
    /// The end of stdin ends a rig; one that does not notice is killed.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        process::signal(&self.child, rustix::process::Signal::CONT);
        process::wait(&mut self.child, Duration::from_secs(2));
    }
}
