//! Records into the event ring, without waking user space: it drains on a timer.

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_jiffies64, bpf_ktime_get_ns, bpf_probe_read_kernel,
};
use tracer_common::{
    counter::Counter,
    event::{
        EpollControl, Eviction, Executed, FLAG_DEAD, FLAG_EXITING, FLAG_HAS_SOCKET, FLAG_KILLED,
        FLAG_PROCESS, FLAG_UNTOUCHED, Header, KIND_EPOLL, KIND_EVICTION, KIND_EXECUTED,
        KIND_PROCESS, Process, Transition,
    },
    table::{Slot, SlotRecord},
};

use crate::{
    current_task::CurrentTask,
    kread::Typed,
    maps::{CLOCK, EVENTS, STACKS},
    skip::count,
    sock::Sock,
};

const NO_WAKEUP: u64 = 1;

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Bits of a word of `CLOCK` that say in which tick it was set; above them is the time.
const TICK_BITS: u64 = (1 << 24) - 1;
/// What [`lately`] may be behind, at most: 17 ms for those bits, a tick, and as long as another CPU takes to
/// count on when the one that counts ticks is held up (kernel/time/tick-sched.c, `MAX_STALLED_JIFFIES`).
const BEHIND: u64 = 128_000_000;

/// A time not long ago, never in the future: the clock is read once a tick, for it takes longer than all that most
/// transitions need besides.
#[inline(always)]
pub fn lately() -> u64 {
    let Some(word) = CLOCK.get_ptr_mut(0) else {
        return now();
    };
    // SAFETY: no arguments.
    let tick = unsafe { bpf_jiffies64() } & TICK_BITS;
    // SAFETY: a valid map element, one aligned word: whoever writes it last writes a true time.
    let known = unsafe { word.read_volatile() };
    if known & TICK_BITS == tick {
        return known & !TICK_BITS;
    }
    let time = now() & !TICK_BITS;
    // SAFETY: as above.
    unsafe { word.write_volatile(time | tick) };
    time
}

/// Whether less time than `limit` has passed since `since`, for certain. Where it has not, or nearly, the exact clock
/// has to be asked.
#[inline(always)]
pub fn surely_within(limit: u64, since: u64, lately: u64) -> bool {
    lately.saturating_sub(since).saturating_add(BEHIND) < limit
}

pub struct Change {
    pub kind: u32,
    pub since: u64,
    pub stack: u64,
    pub old: u8,
    pub new: u8,
    pub untouched: bool,
    /// `NOBODY` where the acting task is not the socket's user.
    pub current: CurrentTask,
}

#[inline(always)]
pub fn transition(sock: Sock<Typed>, change: &Change, now: u64) {
    count(Counter::Seen);
    let Some(mut entry) = EVENTS.reserve::<Transition>(0) else {
        count(Counter::Lost);
        return;
    };
    let mut flags = 0;
    if sock.is_dead() {
        flags |= FLAG_DEAD;
    }
    if !sock.file_socket().is_null() {
        flags |= FLAG_HAS_SOCKET;
    }
    if change.untouched {
        flags |= FLAG_UNTOUCHED;
    }
    let current = change.current;
    if !current.is_nobody() {
        flags |= FLAG_PROCESS;
        if current.exiting() {
            flags |= FLAG_EXITING;
            if current.killed() {
                flags |= FLAG_KILLED;
            }
        }
    }
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record, and every field is written.
    unsafe {
        (*record).header = Header {
            kind: change.kind,
            len: size_of::<Transition>() as u32,
            at: now,
        };
        (*record).cookie = sock.cookie();
        (*record).since = change.since;
        (*record).stack = change.stack;
        (*record).endpoints = sock.endpoints();
        (*record).netns = sock.namespace();
        (*record).tgid = current.tgid;
        (*record).tid = current.tid;
        (*record).old = change.old;
        (*record).new = change.new;
        (*record).flags = flags;
        (*record).shutdown = sock.shutdown();
        (*record).recv_q = sock.unread();
        (*record).reserved = 0;
        if current.is_nobody() {
            (*record).comm = [0; 16];
        } else {
            bpf_get_current_comm((&raw mut (*record).comm).cast(), 16);
        }
    }
    entry.submit(NO_WAKEUP);
    count(Counter::Submitted);
}

#[inline(always)]
pub fn evict(slot: Slot, slot_record: *const SlotRecord, now: u64) {
    count(Counter::Seen);
    let Some(mut entry) = EVENTS.reserve::<Eviction>(0) else {
        count(Counter::Lost);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record; `slot_record` is a valid map element.
    unsafe {
        (*record).header = Header {
            kind: KIND_EVICTION,
            len: size_of::<Eviction>() as u32,
            at: now,
        };
        (*record).slot = slot;
        // By a helper: the compiler's loop over its bytes is followed on each path that leads here.
        bpf_probe_read_kernel(
            (&raw mut (*record).record).cast(),
            size_of::<SlotRecord>() as u32,
            slot_record.cast(),
        );
    }
    entry.submit(NO_WAKEUP);
    count(Counter::Submitted);
}

#[inline(always)]
pub fn process(tgid: u32, what: u32, now: u64) {
    count(Counter::Seen);
    let Some(mut entry) = EVENTS.reserve::<Process>(0) else {
        count(Counter::Lost);
        return;
    };
    let header = Header {
        kind: KIND_PROCESS,
        len: size_of::<Process>() as u32,
        at: now,
    };
    entry.write(Process { header, tgid, what });
    entry.submit(NO_WAKEUP);
    count(Counter::Submitted);
}

/// Beside the account of what must not be lost: who watches loops knows what is missing.
#[inline(always)]
pub fn epoll(
    current: CurrentTask,
    (cookie, stack, at): (u64, u64, u64),
    set: u32,
    operation: u32,
    events: u32,
) {
    let Some(mut entry) = EVENTS.reserve::<EpollControl>(0) else {
        count(Counter::EpollLost);
        return;
    };
    let header = Header {
        kind: KIND_EPOLL,
        len: size_of::<EpollControl>() as u32,
        at,
    };
    entry.write(EpollControl {
        header,
        cookie,
        stack,
        tgid: current.tgid,
        tid: current.tid,
        set,
        operation,
        events,
        reserved: 0,
    });
    entry.submit(NO_WAKEUP);
}

/// Among the stack copies, which wake the reader: the process may not live long.
#[inline(always)]
pub fn executed(current: CurrentTask, now: u64) {
    let Some(mut entry) = STACKS.reserve::<Executed>(0) else {
        count(Counter::StackLost);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record, and every field is written.
    unsafe {
        (*record).header = Header {
            kind: KIND_EXECUTED,
            len: size_of::<Executed>() as u32,
            at: now,
        };
        (*record).start_boot = current.start_boot();
        (*record).tgid = current.tgid;
        (*record).reserved = 0;
        bpf_get_current_comm((&raw mut (*record).comm).cast(), 16);
    }
    entry.submit(0);
}
