//! A socket as the stages between source and report see it: times in nanoseconds of
//! `CLOCK_MONOTONIC`, identities as numbers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU64,
    ops::Deref,
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tracer_common::{
    endpoint,
    made_by::{goroutine, virtual_thread},
    state, table,
};

use super::actor::{Actor, Goroutine, Task};

/// What a task did to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SocketOperation {
    Accept,
    Connect,
    Recv,
    Send,
    Close,
    /// A kind this version does not know.
    Other(u8),
}

impl SocketOperation {
    pub const fn from_wire(kind: u32) -> Self {
        match kind {
            table::OPERATION_ACCEPT => Self::Accept,
            table::OPERATION_CONNECT => Self::Connect,
            table::OPERATION_RECV => Self::Recv,
            table::OPERATION_SEND => Self::Send,
            table::OPERATION_CLOSE => Self::Close,
            other => Self::Other(other as u8),
        }
    }
}

/// A system call on the socket by a proven task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOperation {
    /// Key of the user stack; 0 when there was none to read.
    pub stack: u64,
    pub at: u64,
    pub pid: u32,
    pub tid: u32,
    pub kind: SocketOperation,
    /// User stack pointer at the system call; 0 when it could not be read.
    #[serde(default)]
    pub sp: u64,
    /// Id of the goroutine that made it, where one did. Then `sp` is counted from the end of its stack, wrapping,
    /// which the runtime may move.
    #[serde(default)]
    pub goroutine: Option<NonZeroU64>,
    /// Id of the virtual thread of Java that made it, where one did. Then `sp` is 0.
    #[serde(default)]
    pub virtual_thread: Option<NonZeroU64>,
    /// How often the thread had left a CPU to wait by then, the low 32 bits; says nothing where `sp` is 0.
    #[serde(default)]
    pub switches: u32,
}

impl LastOperation {
    /// `None` unless the checksum proves that the operation is whole and belongs to `cookie`.
    pub fn from_wire(cookie: u64, operation: &table::LastOperation) -> Option<Self> {
        let packed = Some(operation.sp).filter(|_| operation.is_of_goroutine());
        let virtual_thread = packed.and_then(virtual_thread::unpack);
        // Both runtimes count from 1.
        let (goroutine, sp, switches) = match (packed, virtual_thread) {
            (None, _) => (None, operation.sp, operation.waits),
            (Some(_), Some(_)) => (None, 0, 0),
            (Some(packed), None) => match goroutine::unpack(packed) {
                (0, _) => (None, 0, 0),
                (id, depth) => (NonZeroU64::new(id), 0_u64.wrapping_sub(depth), 0),
            },
        };
        operation.holds(cookie).then(|| Self {
            stack: operation.stack,
            at: operation.at,
            pid: operation.tgid,
            tid: operation.tid(),
            kind: SocketOperation::from_wire(operation.kind()),
            sp,
            goroutine,
            virtual_thread: virtual_thread.and_then(NonZeroU64::new),
            switches,
        })
    }

    pub fn actor(&self) -> Actor {
        let pid = self.pid;
        match (self.goroutine, self.virtual_thread) {
            (Some(id), _) => Actor::Goroutine(Goroutine { pid, id: id.get() }),
            (None, Some(id)) => Actor::Task(Task::virtual_thread(pid, id.get())),
            (None, None) => Actor::Thread(self.tid),
        }
    }
}

/// The three moments the kernel program remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub opened: Option<LastOperation>,
    pub used: Option<LastOperation>,
    pub eof: Option<LastOperation>,
}

/// A history that takes no room where nothing is known: very many sockets can be older than the tracer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptHistory(Option<Box<History>>);

impl KeptHistory {
    pub fn learn(&mut self, other: History) {
        if other != History::UNKNOWN {
            self.0.get_or_insert_default().learn(other);
        }
    }
}

impl Deref for KeptHistory {
    type Target = History;

    fn deref(&self) -> &History {
        self.0.as_deref().unwrap_or(&History::UNKNOWN)
    }
}

impl History {
    const UNKNOWN: Self = Self {
        opened: None,
        used: None,
        eof: None,
    };

    pub fn operations(&self) -> impl Iterator<Item = &LastOperation> {
        [&self.opened, &self.used, &self.eof].into_iter().flatten()
    }

    /// The last read or write, also one that read the end of the stream.
    pub fn last_use(&self) -> Option<LastOperation> {
        let newest = |operation: &LastOperation| operation.at;
        self.used.into_iter().chain(self.eof).max_by_key(newest)
    }

    /// The newest of each kind stays.
    pub fn learn(&mut self, other: Self) {
        let newest = |known: Option<LastOperation>, new: Option<LastOperation>| match (known, new) {
            (Some(a), Some(b)) => Some(if b.at >= a.at { b } else { a }),
            (a, b) => b.or(a),
        };
        self.opened = newest(self.opened, other.opened);
        self.used = newest(self.used, other.used);
        self.eof = newest(self.eof, other.eof);
    }
}

/// How a socket came into `CLOSE_WAIT` or CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub old_state: u8,
    /// errno of the pending error; 0 is none.
    pub error: u16,
    pub shutdown: u8,
    /// The peer's FIN came when everything before it had been read; false where that is not known.
    #[serde(default)]
    pub only_fin_unread: bool,
}

/// Both ends. Loopback and v4-mapped addresses are kept as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

impl Endpoints {
    pub fn from_wire(endpoints: &endpoint::Endpoints) -> Self {
        Self {
            local: SocketAddr::new(
                address(endpoints.family, endpoints.local_addr),
                endpoints.local_port,
            ),
            remote: SocketAddr::new(
                address(endpoints.family, endpoints.remote_addr),
                endpoints.remote_port,
            ),
        }
    }

    /// Flow labels and scopes, which the kernel does not tell either, get lost.
    pub fn to_wire(self) -> endpoint::Endpoints {
        let is_v6 = self.local.is_ipv6() || self.remote.is_ipv6();
        endpoint::Endpoints {
            local_addr: bytes(self.local.ip(), is_v6),
            remote_addr: bytes(self.remote.ip(), is_v6),
            local_port: self.local.port(),
            remote_port: self.remote.port(),
            family: if is_v6 {
                state::AF_INET6
            } else {
                state::AF_INET
            },
            reserved: 0,
        }
    }
}

fn bytes(ip: IpAddr, is_v6: bool) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) if is_v6 => ip.to_ipv6_mapped().octets(),
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

fn address(family: u16, bytes: [u8; 16]) -> IpAddr {
    if family == state::AF_INET6 {
        return IpAddr::V6(Ipv6Addr::from(bytes));
    }
    let [a, b, c, d, ..] = bytes;
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// Nearly all sockets have one descriptor, and then need no memory of their own for it.
pub type Holders = SmallVec<[Holder; 2]>;

/// A descriptor on the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub fd: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_wire() {
        for (local, remote) in [
            ("10.1.2.3:80", "192.0.2.7:65535"),
            ("[2001:db8::1]:443", "[::1]:1"),
            ("[::ffff:10.1.2.3]:80", "[::ffff:192.0.2.7]:9"),
        ] {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let endpoints = Endpoints { local, remote };
            assert_eq!(Endpoints::from_wire(&endpoints.to_wire()), endpoints);
        }
    }
}
