//! The end of a TCP socket: tracepoint `tcp:tcp_destroy_sock`, raised in
//! net/ipv4/tcp_ipv4.c:tcp_v4_destroy_sock. Checked on 5.10, 6.1, 6.12, 6.18, 7.0.
//! Any context; nothing is attributed.

use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::{event::KIND_DESTROYED, state::CLOSE};

use crate::{
    current_task::CurrentTask,
    emit::{self, Change},
    globals as g,
    hooks::wanted,
    skip::Skip,
    sock::Sock,
    table, tree,
};

#[inline(always)]
pub fn on_destroy(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    let sock = Sock::new(ctx.arg::<*const core::ffi::c_void>(0));
    if !sock.is_tcp() {
        return Err(Skip::NotTcp);
    }
    let found_slot = table::find(sock.cookie())?;
    let mut since = 0;
    let mut old = sock.state();
    let mut current = CurrentTask::NOBODY;
    if let Some(found_slot) = found_slot {
        let slot = found_slot.slot();
        found_slot.free();
        old = slot.state();
        since = slot.since();
        // Never in CLOSE_WAIT or CLOSE with a file, or not for long: nobody follows it.
        if since == 0 {
            return Ok(());
        }
        let worth_a_record = g::GRACE_NS.load().min(g::EXIT_AGE_NS.load());
        if emit::surely_within(worth_a_record, since, emit::lately()) {
            return Ok(());
        }
        let age = emit::now().saturating_sub(since);
        // Only the last close() of its descriptors destroys it (net/ipv4/tcp.c:__tcp_close); a kernel thread
        // may make that close, and is nobody.
        if old == CLOSE {
            current = CurrentTask::current().unwrap_or(CurrentTask::NOBODY);
        }
        let by_exit = current.exiting()
            && age >= g::EXIT_AGE_NS.load()
            && !tree::came_in_exit(current, since);
        if age < g::GRACE_NS.load() && !by_exit {
            return Ok(());
        }
        if by_exit {
            found_slot.tell(slot, emit::now());
        }
    } else if tree::is_followed() {
        return Err(Skip::Filtered);
    } else {
        // Older than the tracer, or its place was taken: user space may know it.
        wanted(sock)?;
    }
    let change = Change {
        kind: KIND_DESTROYED,
        since,
        stack: 0,
        old,
        new: sock.state(),
        untouched: false,
        current,
    };
    emit::transition(sock, &change, emit::now());
    Ok(())
}
