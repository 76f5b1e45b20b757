//! One file a hook. Each opens with the kernel function it sits on and where that was checked.

pub mod accept;
pub mod destroy;
pub mod epoll;
pub mod io;
pub mod iterators;
pub mod samples;
pub mod task;
pub mod threads;
pub mod transition;

use tracer_common::{
    config::MAX_PORTS,
    counter::Counter,
    table::{LastOperation, OPERATION_OF_GOROUTINE, Operation},
};

use crate::{
    current_task::CurrentTask,
    emit, globals as g,
    kread::Typed,
    maps::TARGETS,
    skip::{Skip, count},
    sock::Sock,
    stack,
    table::{self, FoundSlot},
};

/// Is there a load-time port filter?
#[inline(always)]
fn has_port_filter() -> bool {
    g::PORTS.load()[0] != 0
}

/// The load-time port filter; all zero lets every socket pass.
#[inline(always)]
fn wanted_ports(local: u16, remote: u16) -> bool {
    if !has_port_filter() {
        return true;
    }
    let ports = g::PORTS.load();
    let mut i = 0;
    while i < MAX_PORTS {
        if ports[i] != 0 && (ports[i] == local || ports[i] == remote) {
            return true;
        }
        i += 1;
    }
    false
}

/// A TCP socket that passes the filters.
#[inline(always)]
fn wanted(sock: Sock<Typed>) -> Result<(), Skip> {
    if !sock.is_tcp() {
        return Err(Skip::NotTcp);
    }
    // The local port outlives its release (net/ipv4/inet_hashtables.c:inet_put_port) in `sport`.
    if has_port_filter()
        && let Some(tp) = sock.tcp()
    {
        if !wanted_ports(Sock(tp).sport(), sock.remote_port()) {
            return Err(Skip::Filtered);
        }
        count(Counter::Matched);
    }
    Ok(())
}

/// The acting task, if it is one to follow.
#[inline(always)]
pub fn wanted_task() -> Result<CurrentTask, Skip> {
    let current = CurrentTask::current()?;
    if g::BY_PID.load() != 0 && TARGETS.get_ptr(current.tgid).is_none() {
        return Err(Skip::Filtered);
    }
    Ok(current)
}

#[derive(Clone, Copy)]
enum Fact {
    Opened,
    Used,
    Eof,
}

/// Notes in the table what `current` did to the socket, and where in its code.
#[inline(always)]
fn operation(cookie: u64, current: CurrentTask, fact: Fact, kind: u32) -> Result<FoundSlot, Skip> {
    let now = emit::now();
    let stack = stack::take(current, kind, now);
    let found_slot = table::find_or_claim(cookie, now)?;
    let (sp, kind) = if stack.goroutine != 0 {
        (stack.goroutine, kind | OPERATION_OF_GOROUTINE)
    } else {
        (stack.sp, kind)
    };
    let operation = LastOperation::new(
        cookie,
        Operation {
            stack: stack.key,
            at: now,
            sp,
            tgid: current.tgid,
            tid: current.tid,
            kind,
            waits: current.waits(),
        },
    );
    match fact {
        Fact::Opened => found_slot.set_opened(operation),
        Fact::Used => found_slot.set_used(operation),
        Fact::Eof => found_slot.set_eof(operation),
    }
    Ok(found_slot)
}
