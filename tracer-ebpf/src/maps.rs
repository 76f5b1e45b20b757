//! Every map, its size and why it has that size. Sizes marked "at load" are set by the loader.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use tracer_common::{
    config::{MAX_ASKED, MAX_CGROUPS, MAX_LOOPS, Visits},
    counter,
    runtime::{self, Runtime},
    table::{CHUNK_WORDS, SlotRecord},
    unwind::{ROW_SETS, RowSet},
};

use crate::{
    desk::Desk,
    v8::{BELIEVED_WAYS, Believed, CODE_PLACES},
    walk::{Walked, Words},
};

/// Keys of the socket table, 64 KiB an element (at load: slots / 4096 elements).
#[map]
pub static SETS: Array<[u64; CHUNK_WORDS]> = Array::with_max_entries(1, 0);

/// Records of the socket table, one element a slot (at load).
#[map]
pub static RECORDS: Array<SlotRecord> = Array::with_max_entries(1, 0);

/// Transitions, evictions, process events: 24 to 224 bytes each (at load).
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// Stack copies of 20 KiB: 200 fit, as many as one process may ask for at once.
#[map]
pub static STACKS: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

/// The unwind rows, 256 KiB; mapped pages (5.5) make each set one cache line.
#[map]
pub static ROWS: Array<RowSet> = Array::with_max_entries(ROW_SETS, BPF_F_MMAPABLE);
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// Where processes with a language runtime keep what their threads execute, 64 KiB.
#[map]
pub static RUNTIMES: Array<Runtime> = Array::with_max_entries(runtime::PLACES, 0);

/// When a stack key may be copied again: two-way buckets of (key, time).
#[map]
pub static SEEN: Array<SeenBucket> = Array::with_max_entries(SEEN_BUCKETS, 0);
pub const SEEN_BUCKETS: u32 = 8192;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SeenBucket {
    pub entry: [SeenKey; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SeenKey {
    pub key: u64,
    pub next: u64,
}

/// The piece of a user stack that is walked, 1 KiB a CPU.
#[map]
pub static WINDOW: PerCpuArray<Words> = PerCpuArray::with_max_entries(1, 0);

/// Where a walk leaves its return addresses until they are copied.
#[map]
pub static WALKED: PerCpuArray<Walked> = PerCpuArray::with_max_entries(1, 0);

/// What walks of runtimes' frames leave there, and what one of JavaScript works on: 2.7 KiB a CPU.
#[map]
pub static DESK: PerCpuArray<Desk> = PerCpuArray::with_max_entries(1, 0);

/// The functions on ways that JavaScript has called by just now, 12 KiB.
#[map]
pub static BELIEVED: Array<Believed> = Array::with_max_entries(BELIEVED_WAYS, 0);

/// Return addresses of JavaScript, hashed, the lowest bit set where the interpreter is: 8 KiB.
#[map]
pub static CODES: Array<u64> = Array::with_max_entries(CODE_PLACES, 0);

/// Stack copies a process may still ask for. Least recently used processes start afresh.
#[map]
pub static BUCKETS: LruHashMap<u32, Bucket> = LruHashMap::with_max_entries(4096, 0);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bucket {
    pub at: u64,
    pub tokens: u64,
}

/// How often sockets that were opened at one place (first key) were closed at another (second key).
#[map]
pub static CLOSES: PerCpuHashMap<[u64; 2], u64> = PerCpuHashMap::with_max_entries(4096, 0);

/// Visits to `CLOSE_WAIT` by cgroup (at load: one element where they are not counted).
#[map]
pub static VISITS: PerCpuHashMap<u64, Visits> = PerCpuHashMap::with_max_entries(MAX_CGROUPS, 0);

/// What a new element of `VISITS` begins as: too large for the stack.
#[map]
pub static NO_VISITS: Array<Visits> = Array::with_max_entries(1, 0);

/// Not zero once some socket is stuck: until then nobody asks how the others are closed.
#[map]
pub static COUNT_CLOSES: Array<u32> = Array::with_max_entries(1, 0);

/// The time as it was at the first look of this tick (`emit::lately`).
#[map]
pub static CLOCK: Array<u64> = Array::with_max_entries(1, 0);

/// Process ids to follow when a pid filter is set (at load: one element without), each with the start of the
/// process, or 0 for any. Children are added at fork, and go when they are reaped.
#[map]
pub static TARGETS: HashMap<u32, u64> = HashMap::with_max_entries(65_536, 0);

/// Listening sockets of a followed tree, by cookie, and where they listen.
#[map]
pub static LISTENERS: HashMap<u64, ListenPlace> = HashMap::with_max_entries(4096, 0);

/// Processes of a followed tree that have begun to exit, and when.
#[map]
pub static EXITING: LruHashMap<u32, u64> = LruHashMap::with_max_entries(4096, 0);

/// How many of them listen at a place.
#[map]
pub static LISTENS_AT: HashMap<ListenPlace, u32> = HashMap::with_max_entries(4096, 0);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ListenPlace {
    pub netns: u32,
    pub port: u32,
    /// All zero for any address, of either family.
    pub address: [u8; 16],
}

/// Processes whose changes to epoll sets are told of.
#[map]
pub static LOOPS: HashMap<u32, u8> = HashMap::with_max_entries(MAX_LOOPS, 0);

/// Processes whose threads the iterator over tasks is to report.
#[map]
pub static ASKED: HashMap<u32, u8> = HashMap::with_max_entries(MAX_ASKED, 0);

#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);
