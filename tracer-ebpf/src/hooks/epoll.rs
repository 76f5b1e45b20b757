//! What event loops do with their sockets: successful changes to epoll sets, of the processes in `LOOPS` alone.
//!
//! First choice: the exit of fs/eventpoll.c:do_epoll_ctl (5.6; its arguments and result are as here from then on to
//! 6.18). Where trampolines are refused: the exit tracepoint of the system call, whose arguments are still in the
//! registers (checked on 6.18).

use core::ffi::c_void;

use aya_ebpf::{
    helpers::bpf_probe_read_user,
    programs::{FExitContext, TracePointContext},
};
use tracer_common::{
    event::{EPOLL_ADD, EPOLL_DEL, EPOLL_MOD, TELLS_OF_FIN},
    table::OPERATION_EPOLL,
};

use crate::{
    current_task::{CurrentTask, regs_of, task},
    emit, globals as g,
    hooks::accept::{SYS_EXIT_RET, socket_of},
    kread::{Probed, Ptr},
    maps::LOOPS,
    skip::Skip,
    stack,
};

/// `struct epoll_event` begins with the bits asked for.
type Events = u32;

#[inline(always)]
pub fn on_epoll_ctl(ctx: &FExitContext) -> Result<(), Skip> {
    let failed: i32 = ctx.ret().map_err(|_| Skip::Nothing)?;
    let current = watched(failed)?;
    let event = Ptr::<Probed>::new(ctx.arg::<*const c_void>(3));
    // In kernel memory, and null for a removal.
    let events = if event.is_null() {
        0
    } else {
        event.word() as Events
    };
    changed(current, ctx.arg(0), ctx.arg(1), ctx.arg(2), events)
}

#[inline(always)]
pub fn on_exit_epoll_ctl(ctx: &TracePointContext) -> Result<(), Skip> {
    // SAFETY: the offset lies inside the record of every syscall exit tracepoint.
    let failed: i64 = unsafe { ctx.read_at(SYS_EXIT_RET) }.map_err(|_| Skip::Nothing)?;
    let current = watched(failed as i32)?;
    if g::HAS_REGS.load() == 0 {
        return Err(Skip::Nothing);
    }
    let regs = regs_of(task());
    let event: u64 = regs.field(&g::OFF_REGS_ARG3);
    // SAFETY: the helper checks the address.
    let events = unsafe { bpf_probe_read_user(event as *const Events) }.unwrap_or(0);
    changed(
        current,
        regs.field::<u64>(&g::OFF_REGS_ARG0) as u32,
        regs.field::<u64>(&g::OFF_REGS_ARG1) as u32,
        regs.field::<u64>(&g::OFF_REGS_ARG2) as u32,
        events,
    )
}

/// The acting task, if the call worked and its process is watched.
#[inline(always)]
fn watched(failed: i32) -> Result<CurrentTask, Skip> {
    if failed != 0 {
        return Err(Skip::Nothing);
    }
    let current = CurrentTask::current()?;
    match LOOPS.get_ptr(current.tgid) {
        Some(_) => Ok(current),
        None => Err(Skip::Filtered),
    }
}

#[inline(always)]
fn changed(
    current: CurrentTask,
    set: u32,
    operation: u32,
    fd: u32,
    events: Events,
) -> Result<(), Skip> {
    if !matches!(operation, EPOLL_ADD | EPOLL_DEL | EPOLL_MOD) {
        return Err(Skip::Nothing);
    }
    let sock = socket_of(i64::from(fd as i32))?;
    if sock.0.is_null() || !sock.is_tcp() {
        return Err(Skip::NotTcp);
    }
    let cookie = sock.known_cookie();
    if cookie == 0 {
        return Err(Skip::Nothing);
    }
    let events = if operation == EPOLL_DEL { 0 } else { events };
    let now = emit::now();
    // Who asks for news is not told, only who no longer does.
    let stack = if events & TELLS_OF_FIN == 0 {
        stack::take(current, OPERATION_EPOLL, now).key
    } else {
        0
    };
    emit::epoll(current, (cookie, stack, now), set, operation, events);
    Ok(())
}
