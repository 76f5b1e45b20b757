//! Which sockets belong to the one tree of processes that `run` follows, where nobody of it has touched them
//! yet: connections that wait at a listener of the tree. Every other socket enters the table by an operation.

use crate::{
    current_task::CurrentTask,
    globals as g,
    hooks::wanted_task,
    kread::Typed,
    maps::{EXITING, LISTENERS, LISTENS_AT, ListenPlace, TARGETS},
    skip::Skip,
    sock::Sock,
};

use tracer_common::config::BY_PID_TREE;

/// Nothing but the tree is of interest, and all of it is younger than the tracer.
#[inline(always)]
pub fn is_followed() -> bool {
    g::BY_PID.load() == BY_PID_TREE
}

/// `listen()` of a task of the tree (net/ipv4/inet_connection_sock.c:inet_csk_listen_start, in the caller's
/// context; a port that was not bound before comes later and is not known here).
#[inline(always)]
pub fn listens(sock: Sock<Typed>) -> Result<(), Skip> {
    wanted_task()?;
    let place = place_of(sock);
    LISTENERS
        .insert(sock.cookie(), place, 0)
        .map_err(|_| Skip::NoMap)?;
    let before = LISTENS_AT
        .get_ptr(place)
        // SAFETY: a valid map element, one aligned word.
        .map_or(0, |count| unsafe { *count });
    LISTENS_AT
        .insert(place, before + 1, 0)
        .map_err(|_| Skip::NoMap)
}

/// Several may listen at one place (`SO_REUSEPORT`); the last one takes it away.
#[inline(always)]
pub fn listens_no_more(sock: Sock<Typed>) -> Result<(), Skip> {
    let cookie = sock.cookie();
    let Some(place) = LISTENERS.get_ptr(cookie) else {
        return Err(Skip::Filtered);
    };
    // As it was then: by now the kernel may have taken the port away (net/ipv4/tcp.c:tcp_set_state).
    // SAFETY: a valid map element, which nobody changes.
    let place = unsafe { *place };
    let _gone_already = LISTENERS.remove(cookie);
    let Some(count) = LISTENS_AT.get_ptr_mut(place) else {
        return Ok(());
    };
    // SAFETY: a valid map element, one aligned word.
    let count = unsafe { &mut *count };
    *count = count.saturating_sub(1);
    if *count == 0 {
        let _gone_already = LISTENS_AT.remove(place);
    }
    Ok(())
}

/// A process of the tree begins to exit; its files are closed later (kernel/exit.c:do_exit).
#[inline(always)]
pub fn begins_to_exit(tgid: u32, now: u64) -> Result<(), Skip> {
    if TARGETS.get_ptr(tgid).is_none() {
        return Err(Skip::Filtered);
    }
    EXITING.insert(tgid, now, 0).map_err(|_| Skip::NoMap)
}

/// The task exits, and what began then began when it already did: the program had no chance to see it.
#[inline(always)]
pub fn came_in_exit(current: CurrentTask, then: u64) -> bool {
    current.exiting()
        && EXITING
            .get_ptr(current.tgid)
            // SAFETY: a valid map element, one aligned word.
            .is_some_and(|began| then >= unsafe { *began })
}

/// Nobody has accepted it, and it came in at a listener of the tree. Any context.
#[inline(always)]
pub fn waits_for_us(sock: Sock<Typed>) -> bool {
    if !sock.file_socket().is_null() {
        return false;
    }
    let mut place = place_of(sock);
    if LISTENS_AT.get_ptr(place).is_some() {
        return true;
    }
    place.address = [0; 16];
    LISTENS_AT.get_ptr(place).is_some()
}

#[inline(always)]
fn place_of(sock: Sock<Typed>) -> ListenPlace {
    let endpoints = sock.addresses();
    ListenPlace {
        netns: sock.namespace(),
        port: u32::from(endpoints.local_port),
        address: endpoints.local_addr,
    }
}
