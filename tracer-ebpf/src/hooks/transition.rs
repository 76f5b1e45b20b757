//! Every change of a TCP socket's state: tracepoint `sock:inet_sock_set_state`, raised in
//! net/ipv4/af_inet.c:inet_sk_set_state and inet_sk_state_store, the bodies of tcp_set_state.
//! Checked on 5.10, 6.1, 6.12, 6.18, 7.0. It fires before `sk_state` is written.
//!
//! Who is `current`? connect() makes CLOSE -> SYN_SENT, close() and shutdown() make
//! CLOSE_WAIT -> LAST_ACK and ESTABLISHED -> FIN_WAIT1: in the caller's context. Everything the peer
//! causes happens in softirq or in somebody else's task: never attributed.

use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use tracer_common::{
    config::MODE_TRACE,
    event::KIND_TRANSITION,
    state::{
        CLOSE, CLOSE_WAIT, ESTABLISHED, FIN_WAIT1, LAST_ACK, LISTEN, SHUTDOWN_MASK, SYN_RECV,
        SYN_SENT,
    },
    table::{Entry, OPERATION_CLOSE, OPERATION_CONNECT},
};

use crate::{
    choice::unknown,
    closes,
    current_task::CurrentTask,
    emit::{self, Change},
    globals as g,
    hooks::{Fact, operation, wanted, wanted_task},
    kread::Typed,
    skip::Skip,
    sock::Sock,
    stack,
    table::{self, FoundSlot},
    tree, visits,
};

#[inline(always)]
pub fn on_set_state(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let sock = Sock::new(ctx.arg::<*const core::ffi::c_void>(0));
    let old = ctx.arg::<i32>(1) as u8;
    let new = ctx.arg::<i32>(2) as u8;
    wanted(sock)?;
    if g::MODE.load() == MODE_TRACE {
        let change = Change {
            kind: KIND_TRANSITION,
            since: 0,
            stack: 0,
            old,
            new,
            untouched: false,
            current: caller(sock, old, new),
        };
        emit::transition(sock, &change, emit::now());
        return Ok(());
    }
    debug!(ctx, "set_state {} -> {}", old, new);
    follow(sock, old, new)
}

/// Keeps the table true; sends a record only when a socket leaves a state it was stuck in.
#[inline(always)]
fn follow(sock: Sock<Typed>, old: u8, new: u8) -> Result<(), Skip> {
    if new == SYN_SENT {
        let current = wanted_task()?;
        return operation(sock.cookie(), current, Fact::Opened, OPERATION_CONNECT).map(|_| ());
    }
    if tree::is_followed() && new == LISTEN {
        return tree::listens(sock);
    }
    if tree::is_followed() && old == LISTEN {
        return tree::listens_no_more(sock);
    }
    if new == ESTABLISHED {
        // accept() can only look at the cookie, so it must exist by then.
        if old == SYN_RECV {
            sock.cookie();
        }
        return Ok(());
    }
    let counted = may_close(new) && closes::counted() && is_close(sock, old, new);
    let mut since = 0;
    if old == CLOSE_WAIT || counted {
        since = leaves(sock, old, new, counted)?;
    }
    if new == CLOSE_WAIT {
        visits::begun(sock);
    } else if new != CLOSE || !is_hidden(sock, old) {
        return Ok(());
    }
    let now = emit::now();
    let found_slot = remembered(sock, now)?;
    // Where user space was told of it, it goes on following it: the end is worth a record however soon it comes.
    let since = if since == 0 { now } else { since };
    entered(sock, found_slot, old, new, since);
    Ok(())
}

/// Its slot. Where one tree of processes is followed, a socket that nobody of it has touched is none of theirs,
/// unless it waits at their listener.
#[inline(always)]
fn remembered(sock: Sock<Typed>, now: u64) -> Result<FoundSlot, Skip> {
    let cookie = sock.cookie();
    if tree::is_followed() {
        let known = table::find(cookie)?;
        if known.is_none() && !tree::waits_for_us(sock) {
            return Err(Skip::Filtered);
        }
    }
    table::find_or_claim(cookie, now)
}

#[inline(always)]
fn entered(sock: Sock<Typed>, found_slot: FoundSlot, old: u8, state: u8, since: u64) {
    let entry = Entry {
        error: sock.error(),
        old_state: old,
        shutdown: sock.shutdown(),
        // The FIN is one byte, and counted by now (net/ipv4/tcp_input.c:tcp_data_queue).
        only_fin_unread: state == CLOSE_WAIT && sock.unread() <= 1,
    };
    found_slot.set_name(sock.namespace(), entry, sock.endpoints());
    found_slot.set_state(state, since);
}

/// The socket leaves `CLOSE_WAIT`, or is closed by its user where that is counted. Returns since when it was in
/// `CLOSE_WAIT` if that is known and was told, else 0.
#[inline(always)]
fn leaves(sock: Sock<Typed>, old: u8, new: u8, counted: bool) -> Result<u64, Skip> {
    if !counted && !visits::counted() && left_in_time(sock, new)? {
        return Ok(0);
    }
    let now = emit::now();
    // Plain numbers: verifiers before 6.3 refuse an `Option` that outlives a branch (see `CurrentTask`).
    let (mut since, mut late, mut opened, mut untouched) = (0, false, 0, false);
    match table::find(sock.cookie())? {
        Some(found_slot) => {
            if old == CLOSE_WAIT {
                let slot = found_slot.slot();
                since = slot.since();
                if slot.state() == CLOSE_WAIT {
                    visits::ended(sock, since, now);
                }
                let age = now.saturating_sub(since);
                // Whether it is the exit that closes it, user space finds out: a runtime that ends closes as a program does.
                let may_be_exit = age >= g::EXIT_AGE_NS.load()
                    && !tree::came_in_exit(caller(sock, old, new), since);
                if may_be_exit {
                    found_slot.tell(slot, now);
                }
                // Closed in time: the common case, and nobody has to hear of it.
                late = slot.state() != CLOSE_WAIT || age >= g::GRACE_NS.load() || may_be_exit;
                // The old beginning stays: by it the socket's end knows that it is worth a record.
                found_slot.set_state(left_for(new), if late { since } else { now });
                untouched = late && found_slot.is_untouched();
            }
            if counted {
                opened = found_slot.opened_at();
            }
        }
        None => late = old == CLOSE_WAIT && !tree::is_followed(),
    }
    if !late && opened == 0 {
        return Ok(0);
    }
    // From here on one path: the lowest bits of a beginning are free.
    let told = unknown(since & !15 | u64::from(late) | u64::from(untouched) << 1);
    let (since, late, untouched) = (told & !15, told & 1 != 0, told & 2 != 0);
    let opened = unknown(opened);
    let current = caller(sock, old, new);
    let stack = if current.is_nobody() {
        0
    } else {
        stack::take(current, OPERATION_CLOSE, now).key
    };
    closes::note(opened, stack);
    if late {
        let change = Change {
            kind: KIND_TRANSITION,
            since,
            stack,
            old,
            new,
            untouched,
            current,
        };
        emit::transition(sock, &change, now);
        return Ok(since);
    }
    Ok(0)
}

/// The common case: closed long before anybody could have heard of it. False where that takes a closer look.
#[inline(always)]
fn left_in_time(sock: Sock<Typed>, new: u8) -> Result<bool, Skip> {
    let Some(found_slot) = table::find(sock.cookie())? else {
        return Ok(false);
    };
    let slot = found_slot.slot();
    let (since, lately) = (slot.since(), emit::lately());
    let worth_a_record = g::GRACE_NS.load().min(g::EXIT_AGE_NS.load());
    if slot.state() != CLOSE_WAIT || !emit::surely_within(worth_a_record, since, lately) {
        return Ok(false);
    }
    found_slot.set_state(left_for(new), lately.max(since));
    Ok(true)
}

/// CLOSE is kept for what has a descriptor all the same, which [`entered`] notes: here it was closed.
#[inline(always)]
fn left_for(new: u8) -> u8 {
    if new == CLOSE { LAST_ACK } else { new }
}

#[inline(always)]
fn may_close(new: u8) -> bool {
    matches!(new, LAST_ACK | FIN_WAIT1 | CLOSE)
}

/// Does the socket's own user close() it now? shutdown() does not complete `sk_shutdown`.
#[inline(always)]
fn is_close(sock: Sock<Typed>, old: u8, new: u8) -> bool {
    sock.shutdown() == SHUTDOWN_MASK && new != SYN_SENT && is_callers(sock, old, new)
}

/// Did the connection end while a file may still refer to the socket? Not when close() ends it: then
/// `sk_shutdown` is complete (net/ipv4/tcp.c:__tcp_close sets it first), or the socket is dead.
#[inline(always)]
fn is_hidden(sock: Sock<Typed>, old: u8) -> bool {
    old != SYN_SENT
        && old != SYN_RECV
        && !sock.is_dead()
        && !sock.file_socket().is_null()
        && !(sock.shutdown() == SHUTDOWN_MASK && (old == ESTABLISHED || old == CLOSE_WAIT))
}

/// A connection that nobody has accepted ends because its listener is closed or shut down
/// (net/ipv4/inet_connection_sock.c:inet_csk_listen_stop, in the caller's context; tcp_disconnect sets the state
/// before anything else). What the peer or a timer ends has its error set before (net/ipv4/tcp_input.c:tcp_reset,
/// tcp_timer.c:tcp_write_err).
#[inline(always)]
fn is_listeners_end(sock: Sock<Typed>, old: u8) -> bool {
    old == CLOSE_WAIT && sock.file_socket().is_null() && !sock.is_dead() && sock.error() == 0
}

/// The acting task, where it is the socket's own user.
#[inline(always)]
fn caller(sock: Sock<Typed>, old: u8, new: u8) -> CurrentTask {
    if is_callers(sock, old, new) {
        CurrentTask::current().unwrap_or(CurrentTask::NOBODY)
    } else {
        CurrentTask::NOBODY
    }
}

/// Is the transition made by the system call of the socket's own user?
#[inline(always)]
fn is_callers(sock: Sock<Typed>, old: u8, new: u8) -> bool {
    match new {
        SYN_SENT => true,
        LAST_ACK => old == CLOSE_WAIT,
        FIN_WAIT1 => old == ESTABLISHED || old == SYN_RECV,
        // close() with unread data or zero linger resets at once.
        CLOSE => {
            (old == ESTABLISHED || old == CLOSE_WAIT)
                && sock.shutdown() == SHUTDOWN_MASK
                && !sock.is_dead()
                || is_listeners_end(sock, old)
        }
        _ => false,
    }
}
