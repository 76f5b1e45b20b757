//! A connection of the made-up world, and what happened to it.

use tracer_common::state::{CLOSE_WAIT, ESTABLISHED};

use super::world::{S, SERVER, START, STUCK};
use crate::model::{
    input::{Item, StuckCandidate},
    socket::{Endpoints, Entry, History, Holder, LastOperation, SocketOperation},
};

/// A connection of the server: accepted, stuck for 90 s, one byte (the FIN) unread, never touched.
#[derive(Clone)]
pub struct Conn {
    pub candidate: StuckCandidate,
    pub item: Item,
    /// The kernel program knew it, so its beginning is exact.
    pub followed: bool,
}

pub fn conn(cookie: u64) -> Conn {
    let endpoints = Endpoints {
        local: "10.0.0.1:8080".parse().unwrap(),
        remote: ([10, 0, 1, cookie as u8], 40_000 + cookie as u16).into(),
    };
    Conn {
        candidate: StuckCandidate {
            cookie,
            state: CLOSE_WAIT,
            since: STUCK,
            netns: 1,
            endpoints,
            entry: Entry {
                old_state: ESTABLISHED,
                error: 0,
                shutdown: 1,
                only_fin_unread: false,
            },
            history: History::default(),
        },
        item: Item {
            cookie,
            netns: 1,
            endpoints,
            state: CLOSE_WAIT,
            shutdown: 1,
            has_socket: true,
            dead: false,
            inode: 5000 + cookie,
            recv_q: 1,
            send_q: 0,
            last_packet: STUCK,
            last_data: STUCK,
            read_to: 0,
            written_to: 0,
            holders: smallvec::smallvec![Holder {
                pid: SERVER,
                fd: cookie as u32,
            }],
        },
        followed: true,
    }
}

pub fn operation(kind: SocketOperation, at: u64, stack: u64) -> LastOperation {
    LastOperation {
        goroutine: None,
        virtual_thread: None,
        stack,
        at,
        pid: SERVER,
        tid: SERVER,
        kind,
        sp: 0,
        switches: 0,
    }
}

impl Conn {
    pub fn accepted(mut self) -> Self {
        self.candidate.history.opened = Some(operation(SocketOperation::Accept, STUCK - 5 * S, 1));
        self
    }

    pub fn connected(mut self) -> Self {
        self.candidate.history.opened = Some(operation(SocketOperation::Connect, STUCK - 5 * S, 1));
        self
    }

    pub fn used(mut self, kind: SocketOperation, at: u64) -> Self {
        self.candidate.history.used = Some(operation(kind, at, 2));
        self
    }

    pub fn eof(mut self) -> Self {
        self.candidate.history.eof = Some(operation(SocketOperation::Recv, STUCK + S, 3));
        self.recv_q(0)
    }

    pub fn recv_q(mut self, bytes: u32) -> Self {
        self.item.recv_q = bytes;
        self
    }

    pub fn since(mut self, since: u64) -> Self {
        self.candidate.since = since;
        self.item.last_packet = since;
        self
    }

    pub fn state(mut self, state: u8, entry: Entry) -> Self {
        self.candidate.state = state;
        self.candidate.entry = entry;
        self.item.state = state;
        self
    }

    pub fn held_by(mut self, pids: &[u32]) -> Self {
        let fd = self.item.cookie as u32;
        self.item.holders = pids.iter().map(|pid| Holder { pid: *pid, fd }).collect();
        self
    }

    pub fn unaccepted(mut self) -> Self {
        self.item.has_socket = false;
        self.item.inode = 0;
        self.held_by(&[])
    }

    /// Stuck since before tracing began: only the inventory knows it.
    pub fn older(mut self) -> Self {
        self.followed = false;
        self.since(START - 500 * S)
    }

    pub fn at(mut self, local: &str, remote: &str) -> Self {
        let endpoints = Endpoints {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        (self.candidate.endpoints, self.item.endpoints) = (endpoints, endpoints);
        self
    }

    /// All operations by this process, which also holds it.
    pub fn of(mut self, pid: u32) -> Self {
        let history = &mut self.candidate.history;
        let operations = [&mut history.opened, &mut history.used, &mut history.eof];
        for operation in operations.into_iter().flatten() {
            (operation.pid, operation.tid) = (pid, pid);
        }
        self.held_by(&[pid])
    }

    /// All stacks under other keys, as another process has them.
    pub fn stacks_from(mut self, key: u64) -> Self {
        let history = &mut self.candidate.history;
        let operations = [&mut history.opened, &mut history.used, &mut history.eof];
        for operation in operations.into_iter().flatten() {
            operation.stack += key;
        }
        self
    }
}
