//! What exists now: iterators `tcp` (net/ipv4/tcp_ipv4.c:bpf_iter_tcp; one network namespace, also
//! sockets no process holds) and `task_file` (kernel/bpf/task_iter.c; every open file of every
//! process, in all namespaces). Checked on 5.10, 6.1, 6.12, 6.18. `current` is the reader: never used.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::seq_file,
    helpers::generated::{bpf_jiffies64, bpf_seq_write, bpf_sock_from_file},
};
use tracer_common::{
    item::{ITEM_DEAD, ITEM_HAS_SOCKET, ITEM_HELD, SocketItem, UNKNOWN},
    state::{CLOSE, LISTEN, SYN_SENT},
};

use crate::{
    globals::{self as g, Offset as _},
    hooks::wanted_ports,
    kread::{Mode, Probed, Ptr, Typed},
    pidns,
    skip::Skip,
    sock::Sock,
};

/// include/linux/bpf.h:bpf_iter_meta, and the iterators' contexts (net/ipv4/tcp_ipv4.c:bpf_iter__tcp,
/// kernel/bpf/task_iter.c:bpf_iter__task_file): pointers and a fd, stable since 5.8.
#[repr(C)]
pub struct IterMeta {
    seq: *mut seq_file,
}

#[repr(C)]
pub struct IterTcp {
    meta: *const IterMeta,
    sk_common: *const c_void,
}

#[repr(C)]
pub struct IterTaskFile {
    meta: *const IterMeta,
    task: *const c_void,
    fd: u32,
    file: *const c_void,
}

#[inline(always)]
pub fn on_tcp(ctx: *mut IterTcp) -> Result<(), Skip> {
    // SAFETY: the kernel passes its context for this iterator.
    let (meta, sk_common) = unsafe { ((*ctx).meta, (*ctx).sk_common) };
    if sk_common.is_null() {
        return Ok(());
    }
    // Request and TIME_WAIT sockets are not full sockets: the cast helper tells.
    let Some(tp) = Sock::new(sk_common).tcp() else {
        return Err(Skip::NotTcp);
    };
    let sock = Sock(tp);
    if !reported(sock) {
        return Err(Skip::Filtered);
    }
    let mut item = describe(sock, tp);
    item.cookie = sock.cookie();
    write(meta, &item);
    Ok(())
}

#[inline(always)]
pub fn on_task_file(ctx: *mut IterTaskFile) -> Result<(), Skip> {
    // SAFETY: the kernel passes its context for this iterator.
    let (meta, task, fd, file) = unsafe { ((*ctx).meta, (*ctx).task, (*ctx).fd, (*ctx).file) };
    if task.is_null() || file.is_null() {
        return Ok(());
    }
    if g::HAS_SOCK_FROM_FILE.load() != 0 {
        // SAFETY: a typed file pointer, as the helper demands.
        let socket = unsafe { bpf_sock_from_file(file.cast_mut().cast()) };
        if socket.is_null() {
            return Err(Skip::NotTcp);
        }
        let sock = Sock(Ptr::<Typed>::new(socket.cast()).follow(&g::OFF_SOCKET_SK));
        if sock.0.is_null() {
            return Err(Skip::NotTcp);
        }
        let Some(tp) = sock.tcp() else {
            return Err(Skip::NotTcp);
        };
        if !reported(Sock(tp)) {
            return Err(Skip::Filtered);
        }
        let mut item = describe(Sock(tp), tp);
        item.cookie = Sock(tp).cookie();
        held(&mut item, task, fd);
        write(meta, &item);
        return Ok(());
    }
    on_old_task_file(meta, task, fd, file)
}

/// Before `bpf_sock_from_file` (5.11): a socket is a file whose inode says so.
#[inline(always)]
fn on_old_task_file(
    meta: *const IterMeta,
    task: *const c_void,
    fd: u32,
    file: *const c_void,
) -> Result<(), Skip> {
    const S_IFMT: u16 = 0o170_000;
    const S_IFSOCK: u16 = 0o140_000;
    let file = Ptr::<Typed>::new(file).probed();
    let mode: u16 = file.follow(&g::OFF_FILE_INODE).field(&g::OFF_INODE_MODE);
    if mode & S_IFMT != S_IFSOCK {
        return Err(Skip::NotTcp);
    }
    let sock = Sock::<Probed>(file.follow(&g::OFF_FILE_PRIVATE).follow(&g::OFF_SOCKET_SK));
    if sock.0.is_null() || !sock.is_tcp() || !reported(sock) {
        return Err(Skip::NotTcp);
    }
    let mut item = describe(sock, sock.0);
    item.cookie = sock.known_cookie();
    held(&mut item, task, fd);
    write(meta, &item);
    Ok(())
}

/// States asked for at load; CLOSE only for sockets that were connected once.
#[inline(always)]
fn reported<M: Mode>(sock: Sock<M>) -> bool {
    let state = sock.state();
    if state > 15 || g::ITER_STATES.load() & (1 << state) == 0 {
        return false;
    }
    if state == CLOSE && sock.remote_port() == 0 {
        return false;
    }
    state != SYN_SENT && (state == LISTEN || wanted_ports(sock.sport(), sock.remote_port()))
}

#[inline(always)]
fn describe<M: Mode>(sock: Sock<M>, tp: Ptr<M>) -> SocketItem {
    let state = sock.state();
    let mut endpoints = sock.addresses();
    endpoints.local_port = sock.sport();
    let mut item = SocketItem {
        cookie: 0,
        inode: 0,
        last_packet_us: tp.field(&g::OFF_TP_MSTAMP),
        // SAFETY: takes nothing and only reads (kernel/bpf/helpers.c:bpf_jiffies64, since 5.6).
        jiffies: unsafe { bpf_jiffies64() },
        since_data: UNKNOWN,
        copied_seq: tp.field(&g::OFF_TP_COPIED_SEQ),
        write_seq: tp.field(&g::OFF_TP_WRITE_SEQ),
        reserved_too: 0,
        endpoints,
        recv_q: 0,
        send_q: 0,
        netns: sock.netns(),
        state,
        shutdown: sock.shutdown(),
        flags: 0,
        reserved: 0,
        start_boot: 0,
        tgid: 0,
        fd: 0,
        comm: [0; 16],
    };
    if g::OFF_ICSK_LRCVTIME.get().is_some() {
        let last: u32 = tp.field(&g::OFF_ICSK_LRCVTIME);
        item.since_data = (item.jiffies as u32).wrapping_sub(last);
    }
    if state == LISTEN {
        item.recv_q = sock.0.field(&g::OFF_SK_ACK_BACKLOG);
        item.send_q = sock.0.field(&g::OFF_SK_MAX_BACKLOG);
    } else {
        item.recv_q = tp
            .field::<u32>(&g::OFF_TP_RCV_NXT)
            .wrapping_sub(tp.field::<u32>(&g::OFF_TP_COPIED_SEQ));
        item.send_q = tp
            .field::<u32>(&g::OFF_TP_WRITE_SEQ)
            .wrapping_sub(tp.field::<u32>(&g::OFF_TP_SND_UNA));
    }
    let socket = sock.socket();
    if !socket.is_null() {
        item.flags |= ITEM_HAS_SOCKET;
        let file = socket.follow(&g::OFF_SOCKET_FILE);
        if !file.is_null() {
            item.inode = file.follow(&g::OFF_FILE_INODE).field(&g::OFF_INODE_INO);
        }
    }
    if sock.is_dead() {
        item.flags |= ITEM_DEAD;
    }
    item
}

#[inline(always)]
fn held(item: &mut SocketItem, task: *const c_void, fd: u32) {
    let task = Ptr::<Typed>::new(task);
    item.flags |= ITEM_HELD;
    item.fd = fd;
    item.tgid = pidns::tgid(task);
    let leader = task.follow(&g::OFF_TASK_LEADER);
    item.start_boot = leader.field(&g::OFF_TASK_START);
    item.comm = leader.comm(&g::OFF_TASK_COMM);
}

#[inline(always)]
pub fn write<T>(meta: *const IterMeta, item: &T) {
    // SAFETY: the kernel's seq_file of this run; the item is plain data of the size given. When the
    // buffer is full the kernel flushes it and calls again for the same object.
    unsafe {
        bpf_seq_write(
            (*meta).seq,
            core::ptr::from_ref(item).cast(),
            size_of::<T>() as u32,
        )
    };
}
