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
    tree,
};

/// The children of a followed process are followed.
#[inline(always)]
pub fn on_fork(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    if g::BY_PID.load() == 0 {
        return Ok(());
    }
    let parent = Ptr::<crate::kread::Typed>::new(ctx.arg::<*const c_void>(0));
    let child = Ptr::<crate::kread::Typed>::new(ctx.arg::<*const c_void>(1));
    let start: u64 = child.field(&g::OFF_TASK_START);
    let parent = pidns::tgid(parent);
    let child = pidns::tgid(child);
    if parent == child || TARGETS.get_ptr(parent).is_none() {
        return Ok(());
    }
    TARGETS.insert(child, start, 0).map_err(|_| Skip::NoMap)
}

/// A process is freed after all of its files were closed, and after its number may have been given to another:
/// then the start tells them apart. Its threads come before it (kernel/exit.c:release_task).
#[inline(always)]
#[expect(clippy::unnecessary_wraps, reason = "as every hook")]
pub fn on_free(ctx: &BtfTracePointContext) -> Result<(), Skip> {
    // By now it has no number in any namespace but the first any more (kernel/exit.c:__unhash_process).
    if !tree::is_followed() || g::PID_NS.load() != 0 {
        return Ok(());
    }
    let task = Ptr::<crate::kread::Typed>::new(ctx.arg::<*const c_void>(0));
    let start: u64 = task.field(&g::OFF_TASK_START);
    let tgid: u32 = task.field(&g::OFF_TASK_TGID);
    let pid: u32 = task.field(&g::OFF_TASK_PID);
    if tgid != pid {
        return Ok(());
    }
    let Some(known) = TARGETS.get_ptr(tgid) else {
        return Ok(());
    };
    // SAFETY: a valid map element, one aligned word.
    let known = unsafe { *known };
    if known == 0 || known == start {
        let _gone_already = TARGETS.remove(tgid);
    }
    Ok(())
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
    if tree::is_followed() {
        if what != PROCESS_EXEC {
            return tree::begins_to_exit(current.tgid, emit::now());
        }
        return if TARGETS.get_ptr(current.tgid).is_some() {
            emit::executed(current, emit::now());
            Ok(())
        } else {
            Err(Skip::Filtered)
        };
    }
    if BUCKETS.get_ptr(current.tgid).is_some() {
        emit::process(current.tgid, what, emit::now());
    }
    Ok(())
}
