//! The socket table: what the kernel remembers of live sockets without telling anyone.
//!
//! Healthy sockets must cost next to nothing, so nothing about them enters a ring buffer. Each is a
//! slot in a 4-slot set-associative table made of array maps, found by the socket's cookie: no
//! allocation, no lock, no deletion cost. User space sweeps the (small) key array for sockets that
//! sit in `CLOSE_WAIT` or CLOSE and reads the records of those only.
//!
//! Two CPUs may claim one slot at the same moment. No lock guards against that; instead every group
//! of facts carries a checksum over its words and the socket it belongs to. A torn or mixed group does
//! not match its checksum and is *unknown*, never attributed to the wrong socket.

use crate::{endpoint::Endpoints, wire};

pub const SLOTS: usize = 4;
/// Sets in one element of the key array: 1024 sets of 64 bytes are 64 KiB, read in one system call.
pub const SETS_PER_CHUNK: usize = 1024;
pub const CHUNK_WORDS: usize = SETS_PER_CHUNK * SLOTS * 2;
/// One chunk of sets: enough where the table is not used.
pub const MIN_SLOTS: u32 = 4096;
/// Sockets remembered in the kernel at 208 bytes each: from this (3.3 MiB) up to [`MAX_WAYS`]
/// (52 MiB), by the number of sockets the host has when tracing begins. Powers of two.
pub const DEFAULT_SLOTS: u32 = 16_384;
pub const MAX_SLOTS: u32 = 262_144;

/// The set of a socket. Cookies count up, so neighbours in time are neighbours in memory: the sets a
/// busy machine uses lie together, and no two of a few thousand new sockets share one.
#[inline(always)]
pub const fn set_index(cookie: u64, mask: u32) -> u32 {
    cookie as u32 & mask
}

wire! {
    pub struct Slot {
        /// Cookie of the socket; 0 is free.
        pub key: u64,
        /// When the current state began (`CLOCK_MONOTONIC` ns) with the state in the low 4 bits;
        /// 0 while no transition was seen.
        pub since_state: u64,
    }
}

impl Slot {
    #[inline(always)]
    pub const fn pack(since: u64, state: u8) -> u64 {
        (since & !15) | (state as u64 & 15)
    }
    #[inline(always)]
    pub const fn state(&self) -> u8 {
        (self.since_state & 15) as u8
    }
    #[inline(always)]
    pub const fn since(&self) -> u64 {
        self.since_state & !15
    }
}

/// What a task did to the socket; the top byte of [`LastOperation::tid_kind`].
pub const OPERATION_ACCEPT: u32 = 1;
pub const OPERATION_CONNECT: u32 = 2;
pub const OPERATION_RECV: u32 = 3;
pub const OPERATION_SEND: u32 = 4;
pub const OPERATION_CLOSE: u32 = 5;
/// `epoll_ctl`; never in the table.
pub const OPERATION_EPOLL: u32 = 6;
/// Beside one of these: a goroutine or a virtual thread did it, and [`LastOperation::sp`] is what `made_by::goroutine` or
/// `made_by::virtual_thread` packs.
pub const OPERATION_OF_GOROUTINE: u32 = 0x80;

wire! {
    /// A system call on the socket by a proven task.
    pub struct LastOperation {
        /// Key of the user stack ([`crate::stack_key`]); 0 when it could not be read.
        pub stack: u64,
        pub at: u64,
        /// User stack pointer at the system call, or who made it ([`OPERATION_OF_GOROUTINE`]); 0 when it could not be read.
        pub sp: u64,
        pub tgid: u32,
        /// Thread id in the low 24 bits (`pid_max` is at most 2^22), `OPERATION_*` in the top 8.
        pub tid_kind: u32,
        pub waits: u32,
        pub checksum: u32,
    }
}

/// What is noted of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub stack: u64,
    pub at: u64,
    pub sp: u64,
    pub tgid: u32,
    pub tid: u32,
    /// One of `OPERATION_*`, perhaps with [`OPERATION_OF_GOROUTINE`].
    pub kind: u32,
    /// How often the thread had left a CPU to wait (`nvcsw`: being preempted does not count), the low 32 bits; 0
    /// where `sp` is.
    pub waits: u32,
}

impl LastOperation {
    #[inline(always)]
    pub const fn new(key: u64, operation: Operation) -> Self {
        let mut noted = Self {
            stack: operation.stack,
            at: operation.at,
            sp: operation.sp,
            tgid: operation.tgid,
            tid_kind: (operation.tid & 0x00ff_ffff) | (operation.kind << 24),
            waits: operation.waits,
            checksum: 0,
        };
        noted.checksum = noted.checksum_for(key);
        noted
    }

    /// Is this operation whole, and of the socket `key`?
    #[inline(always)]
    pub const fn holds(&self, key: u64) -> bool {
        self.checksum == self.checksum_for(key)
    }

    /// Every read and write of the machine computes one: the multiplications do not wait for each
    /// other, and each word's lowest bit reaches the upper half, which is kept.
    #[inline(always)]
    const fn checksum_for(&self, key: u64) -> u32 {
        let who = (self.tgid as u64) << 32 | self.tid_kind as u64;
        let sum = (key ^ 0x243f_6a88_85a3_08d3)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(self.stack.wrapping_mul(0xff51_afd7_ed55_8ccd))
            .wrapping_add(self.at.wrapping_mul(0xc4ce_b9fe_1a85_ec53))
            .wrapping_add(self.sp.wrapping_mul(0xd6e8_feb8_6659_fd93))
            .wrapping_add(who.wrapping_mul(0xa076_1d64_78bd_642f))
            .wrapping_add((self.waits as u64).wrapping_mul(0xe703_7ed1_a0b4_28db));
        (sum >> 32) as u32 ^ sum as u32
    }

    pub const fn kind(&self) -> u32 {
        self.tid_kind >> 24 & !OPERATION_OF_GOROUTINE
    }

    pub const fn is_of_goroutine(&self) -> bool {
        self.tid_kind >> 24 & OPERATION_OF_GOROUTINE != 0
    }

    pub const fn tid(&self) -> u32 {
        self.tid_kind & 0x00ff_ffff
    }
}

/// The circumstances of the last transition into `CLOSE_WAIT` or CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `sk_err` at that moment: ECONNRESET, EPIPE, ETIMEDOUT tell a reset from a timeout.
    pub error: u16,
    pub old_state: u8,
    /// `sk_shutdown` before the transition: two bits.
    pub shutdown: u8,
    /// The peer's FIN came when everything before it had been read.
    pub only_fin_unread: bool,
}

impl Entry {
    const ONLY_FIN_UNREAD: u32 = 1 << 7;

    pub const fn pack(self) -> u32 {
        let only_fin_unread = if self.only_fin_unread {
            Self::ONLY_FIN_UNREAD
        } else {
            0
        };
        let shutdown = self.shutdown as u32 & (Self::ONLY_FIN_UNREAD - 1);
        (self.error as u32) << 16 | (self.old_state as u32) << 8 | only_fin_unread | shutdown
    }
    pub const fn unpack(word: u32) -> Self {
        Self {
            error: (word >> 16) as u16,
            old_state: (word >> 8) as u8,
            shutdown: (word & (Self::ONLY_FIN_UNREAD - 1)) as u8,
            only_fin_unread: word & Self::ONLY_FIN_UNREAD != 0,
        }
    }
}

wire! {
    /// Namespace and endpoints, written when the socket enters `CLOSE_WAIT` or CLOSE.
    pub struct Name {
        pub endpoints: Endpoints,
        pub netns: u32,
        /// How it came into its state: see [`Entry`].
        pub entry: u32,
        pub checksum: u64,
    }
}

impl Name {
    #[inline(always)]
    pub const fn new(key: u64, netns: u32, entry: Entry, endpoints: Endpoints) -> Self {
        let entry = entry.pack();
        let checksum = Self::checksum_of(key, netns, entry, &endpoints);
        Self {
            endpoints,
            netns,
            entry,
            checksum,
        }
    }

    #[inline(always)]
    pub const fn holds(&self, key: u64) -> bool {
        self.checksum == Self::checksum_of(key, self.netns, self.entry, &self.endpoints)
    }

    #[inline(always)]
    const fn checksum_of(key: u64, netns: u32, entry: u32, endpoints: &Endpoints) -> u64 {
        let ports = (endpoints.local_port as u64) << 48 | (endpoints.remote_port as u64) << 32;
        let (local, remote) = (halves(endpoints.local_addr), halves(endpoints.remote_addr));
        let peer = checksum(key, ports | netns as u64, remote.0, remote.1);
        let rest = (entry as u64) << 16 | endpoints.family as u64;
        checksum(peer, local.0, local.1, rest)
    }
}

wire! {
    pub struct SlotRecord {
        pub name: Name,
        pub opened: LastOperation,
        pub used: LastOperation,
        pub eof: LastOperation,
        pub reserved: [u64; 2],
    }
}

#[inline(always)]
const fn halves(address: [u8; 16]) -> (u64, u64) {
    let both = u128::from_ne_bytes(address);
    (both as u64, (both >> 64) as u64)
}

/// Not zero for any input that matters: a zeroed group never holds.
#[inline(always)]
const fn checksum(key: u64, a: u64, b: u64, c: u64) -> u64 {
    let mut h = key ^ 0x9e37_79b9_7f4a_7c15;
    h = (h ^ a).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h = (h ^ (h >> 32) ^ b).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h = (h ^ (h >> 32) ^ c).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (h ^ (h >> 32)) | 1
}

const _: () = {
    assert!(size_of::<Slot>() == 16);
    assert!(size_of::<LastOperation>() == 40);
    assert!(size_of::<Name>() == 56);
    assert!(size_of::<SlotRecord>() == 192);
};
