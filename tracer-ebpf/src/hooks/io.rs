//! Results of reads and writes: tracepoints `sock:sock_recv_length` and `sock_send_length`
//! (net/socket.c:sock_recvmsg_nosec, sock_sendmsg_nosec; since 6.3, checked on 6.12, 6.18, 7.0), and
//! before 6.3 the exit of net/ipv4/tcp.c:tcp_recvmsg. Always the caller's context.
//!
//! A result of zero is EOF only when the FIN was taken: a read of length zero, a peek and a TLS
//! close_notify also give zero.

use core::ffi::c_void;

use aya_ebpf::programs::{BtfTracePointContext, FExitContext};
use tracer_common::table::{OPERATION_RECV, OPERATION_SEND};

use crate::{
    globals as g,
    hooks::{Fact, operation, wanted, wanted_task},
    kread::Typed,
    skip::Skip,
    sock::Sock,
};

const MSG_PEEK: i32 = 2;

#[inline(always)]
pub fn on_recv_length(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    received(
        Sock::new(ctx.arg::<*const c_void>(0)),
        ctx.arg(1),
        ctx.arg(2),
    )
}

#[inline(always)]
pub fn on_send_length(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let sent: i32 = ctx.arg(1);
    if sent <= 0 {
        return Err(Skip::Nothing);
    }
    let sock = Sock::new(ctx.arg::<*const c_void>(0));
    let current = wanted_task()?;
    wanted(sock)?;
    operation(sock.cookie(), current, Fact::Used, OPERATION_SEND).map(|_| ())
}

/// `tcp_recvmsg(sk, msg, len, [nonblock,] flags, addr_len)`: `nonblock` went away in 5.19.
#[inline(always)]
pub fn on_recvmsg(ctx: &FExitContext) -> Result<(), Skip> {
    let sock = Sock::new(ctx.arg::<*const c_void>(0));
    if g::RECVMSG_ARGS.load() == 6 {
        received(sock, ctx.arg(6), ctx.arg(4))
    } else {
        received(sock, ctx.arg(5), ctx.arg(3))
    }
}

#[inline(always)]
fn received(sock: Sock<Typed>, got: i32, flags: i32) -> Result<(), Skip> {
    if got < 0 || flags & MSG_PEEK != 0 {
        return Err(Skip::Nothing);
    }
    let current = wanted_task()?;
    wanted(sock)?;
    if got > 0 {
        return operation(sock.cookie(), current, Fact::Used, OPERATION_RECV).map(|_| ());
    }
    if !sock.fin_was_read() {
        return Err(Skip::Nothing);
    }
    operation(sock.cookie(), current, Fact::Eof, OPERATION_RECV).map(|_| ())
}
