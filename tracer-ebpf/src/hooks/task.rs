//! Life of processes: tracepoints `sched_process_fork`, `_exec`, `_exit` (kernel/fork.c, fs/exec.c,
//! kernel/exit.c; checked on 5.10, 6.1, 6.12, 6.18). The context is the acting task. Exit fires before the
//! exiting task's sockets are closed.

use core::ffi::c_void;

use aya_ebpf::programs::BtfTracePointContext;
use tracer_common::event::{PROCESS_EXEC, PROCESS_EXIT};

use crate::{
    current_task::CurrentTask,
    emit, globals as g,
    kread::Ptr,
    maps::{BUCKETS, TARGETS},
    pidns,
    skip::Skip,
};

/// The children of a followed process are followed.
#[inline(always)]
pub fn on_fork(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    if g::BY_PID.load() == 0 {
        return Ok(());
    }
    let parent = Ptr::<crate::kread::Typed>::new(ctx.arg::<*const c_void>(0));
    let child = Ptr::<crate::kread::Typed>::new(ctx.arg::<*const c_void>(1));
    let parent = pidns::tgid(parent);
    let child = pidns::tgid(child);
    if parent == child || TARGETS.get_ptr(parent).is_none() {
        return Ok(());
    }
    TARGETS.insert(child, 1, 0).map_err(|_| Skip::NoMap)
}

#[inline(always)]
pub fn on_exec() -> Result<(), Skip> {
    changed(PROCESS_EXEC)
}

#[inline(always)]
pub fn on_exit() -> Result<(), Skip> {
    let current = CurrentTask::current()?;
    if current.tgid != current.tid {
        return Ok(());
    }
    changed(PROCESS_EXIT)
}

/// Tells user space that what it knows of the process's memory is void, if it knows anything.
#[inline(always)]
fn changed(what: u32) -> Result<(), Skip> {
    let current = CurrentTask::current()?;
    if BUCKETS.get_ptr(current.tgid).is_some() {
        emit::process(current.tgid, what, emit::now());
    }
    Ok(())
}
