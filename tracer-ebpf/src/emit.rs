//! Records into the event ring, without waking user space: it drains on a timer.

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_ktime_get_ns};
use tracer_common::{
    counter::Counter,
    event::{
        FLAG_DEAD, FLAG_EXITING, FLAG_HAS_SOCKET, FLAG_PROCESS, Header, KIND_PROCESS, KIND_SPILL,
        Process, Spill, Transition,
    },
    table::{Facts, Way},
};

use crate::{kread::Typed, maps::EVENTS, owner::Owner, skip::count, sock::Sock};

const NO_WAKEUP: u64 = 1;

/// `CLOCK_MONOTONIC` in nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

pub struct Change {
    pub kind: u32,
    pub since: u64,
    pub stack: u64,
    pub old: u8,
    pub new: u8,
    /// `NOBODY` where the acting task is not the socket's user.
    pub owner: Owner,
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
    if !sock.socket().is_null() {
        flags |= FLAG_HAS_SOCKET;
    }
    let owner = change.owner;
    if !owner.is_nobody() {
        flags |= FLAG_PROCESS;
        if owner.exiting() {
            flags |= FLAG_EXITING;
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
        (*record).netns = sock.netns();
        (*record).tgid = owner.tgid;
        (*record).tid = owner.tid;
        (*record).old = change.old;
        (*record).new = change.new;
        (*record).flags = flags;
        (*record).shutdown = sock.shutdown();
        if owner.is_nobody() {
            (*record).comm = [0; 16];
        } else {
            bpf_get_current_comm((&raw mut (*record).comm).cast(), 16);
        }
    }
    entry.submit(NO_WAKEUP);
    count(Counter::Submitted);
}

#[inline(always)]
pub fn spill(way: Way, facts: *const Facts, now: u64) {
    count(Counter::Seen);
    let Some(mut entry) = EVENTS.reserve::<Spill>(0) else {
        count(Counter::Lost);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record; `facts` is a valid map element.
    unsafe {
        (*record).header = Header {
            kind: KIND_SPILL,
            len: size_of::<Spill>() as u32,
            at: now,
        };
        (*record).way = way;
        (*record).facts = *facts;
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
