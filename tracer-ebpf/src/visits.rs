//! How many sockets get into `CLOSE_WAIT`, and how long they stay, by the cgroup of the socket: the FIN that brings
//! them there has no task. On entry and exit only, and only where it is asked for.

use tracer_common::config::{OTHER_CGROUP, VISITS_BUCKETS, Visits};

use crate::{
    globals as g,
    kread::Typed,
    maps::{NO_VISITS, VISITS},
    sock::Sock,
};

/// An element that has come meanwhile stays (`BPF_NOEXIST`, include/uapi/linux/bpf.h).
const NOEXIST: u64 = 1;

#[inline(always)]
pub fn counted() -> bool {
    g::COUNT_VISITS.load() != 0
}

#[inline(always)]
pub fn begun(sock: Sock<Typed>) {
    if counted()
        && let Some(visits) = of(sock.cgroup())
    {
        // SAFETY: a per-CPU element, as in `skip::count`.
        unsafe { (*visits)[0] += 1 };
    }
}

/// `since` is 0 when nobody knows.
#[inline(always)]
pub fn ended(sock: Sock<Typed>, since: u64, now: u64) {
    if !counted() || since == 0 {
        return;
    }
    let Some(visits) = of(sock.cgroup()) else {
        return;
    };
    let stayed = now.saturating_sub(since);
    // In parts of 1/1024 s: 10^9 / 1024 is 1953125 / 2.
    let parts = stayed.saturating_mul(2) / 1_953_125;
    let bucket = (u64::BITS - parts.leading_zeros()) as usize & (VISITS_BUCKETS - 1);
    // SAFETY: as above; the index is below the length of the array.
    unsafe {
        (*visits)[1] += stayed;
        *visits.cast::<u64>().add(2 + bucket) += 1;
    }
}

/// The element of the cgroup on this CPU; beyond the bound the one for all others.
#[inline(always)]
fn of(cgroup: u64) -> Option<*mut Visits> {
    if let Some(known) = VISITS.get_ptr_mut(cgroup) {
        return Some(known);
    }
    let none = NO_VISITS.get(0)?;
    let _came_meanwhile_or_full = VISITS.insert(cgroup, none, NOEXIST);
    if let Some(new) = VISITS.get_ptr_mut(cgroup) {
        return Some(new);
    }
    VISITS.get_ptr_mut(OTHER_CGROUP)
}
