//! Which code accepted a connection.
//!
//! First choice: the exit of net/ipv4/inet_connection_sock.c:inet_csk_accept, whose result is the new
//! socket; touching no argument lets one program load before and after its signature changed in 6.10
//! (checked on 6.1 and 6.12). Where trampolines are refused: the exit tracepoints of accept and
//! accept4, from the returned fd through the caller's file table to the socket (checked on 6.18).

use core::ffi::c_void;

use aya_ebpf::programs::{FExitContext, TracePointContext};
use tracer_common::table::OPERATION_ACCEPT;

use crate::{
    current_task::{CurrentTask, probed_task, task},
    globals as g,
    hooks::{Fact, has_port_filter, operation, wanted_ports, wanted_task},
    kread::{Mode, Probed, Ptr},
    skip::Skip,
    sock::Sock,
};

/// `struct trace_event_raw_sys_exit`: 8 bytes common, 8 bytes id, then the result
/// (include/trace/events/syscalls.h; part of the tracepoint's stable format).
pub const SYS_EXIT_RET: usize = 16;

#[inline(always)]
pub fn on_accept(ctx: &FExitContext) -> Result<(), Skip> {
    let current = wanted_task()?;
    let sk: *const c_void = ctx.ret().map_err(|_| Skip::Nothing)?;
    accepted(current, Sock(Ptr::new(sk)))
}

#[inline(always)]
pub fn on_exit_accept(ctx: &TracePointContext) -> Result<(), Skip> {
    // SAFETY: the offset lies inside the record of every syscall exit tracepoint.
    let fd: i64 = unsafe { ctx.read_at(SYS_EXIT_RET) }.map_err(|_| Skip::Nothing)?;
    if fd < 0 {
        return Err(Skip::Nothing);
    }
    let current = wanted_task()?;
    accepted(current, socket_of(fd)?)
}

/// What the descriptor of the current task leads to, if it is that of a socket.
#[inline(always)]
pub fn socket_of(fd: i64) -> Result<Sock<Probed>, Skip> {
    let (files, max) = if g::HAS_REGS.load() != 0 {
        file_table(task())
    } else {
        file_table(probed_task())
    };
    if fd < 0 || fd >= i64::from(max) {
        return Err(Skip::Nothing);
    }
    let found_slot = Ptr::<Probed>::new((files + fd as u64 * 8) as *const c_void);
    let file = Ptr::<Probed>::new(found_slot.word() as *const c_void);
    Ok(Sock(
        file.follow(&g::OFF_FILE_PRIVATE).follow(&g::OFF_SOCKET_SK),
    ))
}

/// Address of the array of files, and its length.
#[inline(always)]
fn file_table<M: Mode>(task: Ptr<M>) -> (u64, u32) {
    let table = task.follow(&g::OFF_TASK_FILES).follow(&g::OFF_FILES_FDT);
    (table.field(&g::OFF_FDT_FD), table.field(&g::OFF_FDT_MAX))
}

/// `sock` may be any socket, or none: unix sockets are accepted too.
#[inline(always)]
fn accepted(current: CurrentTask, sock: Sock<Probed>) -> Result<(), Skip> {
    if sock.0.is_null() || !sock.is_tcp() {
        return Err(Skip::NotTcp);
    }
    if has_port_filter() && !wanted_ports(sock.local_port(), sock.remote_port()) {
        return Err(Skip::Filtered);
    }
    // A socket that was established before the tracer may have none: its origin stays unknown.
    let cookie = sock.known_cookie();
    if cookie == 0 {
        return Err(Skip::Nothing);
    }
    operation(cookie, current, Fact::Opened, OPERATION_ACCEPT).map(|_| ())
}
