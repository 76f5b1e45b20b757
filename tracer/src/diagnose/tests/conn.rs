//! A connection of the made-up world, and what happened to it.

use tracer_common::state::{CLOSE_WAIT, ESTABLISHED};

use super::world::{S, SERVER, START, STUCK};
use crate::model::{
    input::{Item, Promoted},
    socket::{Deed, Ends, Entry, History, Holder, Touch},
};

/// A connection of the server: accepted, stuck for 90 s, one byte (the FIN) unread, never touched.
pub struct Conn {
    pub promoted: Promoted,
    pub item: Item,
    /// The kernel program knew it, so its beginning is exact.
    pub followed: bool,
}

pub fn conn(cookie: u64) -> Conn {
    let ends = Ends {
        local: "10.0.0.1:8080".parse().unwrap(),
        remote: ([10, 0, 1, cookie as u8], 40_000 + cookie as u16).into(),
    };
    Conn {
        promoted: Promoted {
            cookie,
            state: CLOSE_WAIT,
            since: STUCK,
            netns: 1,
            ends,
            entry: Entry {
                old_state: ESTABLISHED,
                error: 0,
                shutdown: 1,
            },
            history: History::default(),
        },
        item: Item {
            cookie,
            netns: 1,
            ends,
            state: CLOSE_WAIT,
            shutdown: 1,
            has_socket: true,
            dead: false,
            inode: 5000 + cookie,
            recv_q: 1,
            send_q: 0,
            last_packet: STUCK,
            holders: smallvec::smallvec![Holder {
                pid: SERVER,
                fd: cookie as u32,
            }],
        },
        followed: true,
    }
}

pub fn touch(deed: Deed, at: u64, stack: u64) -> Touch {
    Touch {
        stack,
        at,
        pid: SERVER,
        tid: SERVER,
        deed,
    }
}

impl Conn {
    pub fn accepted(mut self) -> Self {
        self.promoted.history.opened = Some(touch(Deed::Accept, STUCK - 5 * S, 1));
        self
    }

    pub fn connected(mut self) -> Self {
        self.promoted.history.opened = Some(touch(Deed::Connect, STUCK - 5 * S, 1));
        self
    }

    pub fn used(mut self, deed: Deed, at: u64) -> Self {
        self.promoted.history.used = Some(touch(deed, at, 2));
        self
    }

    pub fn eof(mut self) -> Self {
        self.promoted.history.eof = Some(touch(Deed::Recv, STUCK + S, 3));
        self.recv_q(0)
    }

    pub fn recv_q(mut self, bytes: u32) -> Self {
        self.item.recv_q = bytes;
        self
    }

    pub fn since(mut self, since: u64) -> Self {
        self.promoted.since = since;
        self.item.last_packet = since;
        self
    }

    pub fn state(mut self, state: u8, entry: Entry) -> Self {
        self.promoted.state = state;
        self.promoted.entry = entry;
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
        let ends = Ends {
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
        };
        (self.promoted.ends, self.item.ends) = (ends, ends);
        self
    }

    /// All touches by this process, which also holds it.
    pub fn of(mut self, pid: u32) -> Self {
        let history = &mut self.promoted.history;
        let touches = [&mut history.opened, &mut history.used, &mut history.eof];
        for touch in touches.into_iter().flatten() {
            (touch.pid, touch.tid) = (pid, pid);
        }
        self.held_by(&[pid])
    }

    /// All stacks under other keys, as another process has them.
    pub fn stacks_from(mut self, key: u64) -> Self {
        let history = &mut self.promoted.history;
        let touches = [&mut history.opened, &mut history.used, &mut history.eof];
        for touch in touches.into_iter().flatten() {
            touch.stack += key;
        }
        self
    }
}
