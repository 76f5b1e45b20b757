//! Process ids as the tracer's /proc shows them. In a container that is not how the kernel's helpers and
//! `task_struct` number processes: a process has an id in each namespace from the first down to its own
//! (kernel/pid.c:alloc_pid; checked on 5.10, 6.18). With /proc of the first namespace all of this is
//! dropped at load.

use aya_ebpf::helpers::generated::bpf_get_current_pid_tgid;
use tracer_common::event::OUTSIDE;

use crate::{
    current_task::probed_task,
    globals::{self as g, Offset as _, Optional},
    kread::{Mode, Probed, Ptr},
};

/// include/linux/pid_namespace.h.
const MAX_PID_NS_LEVEL: u32 = 32;

/// Of the current task, as `bpf_get_current_pid_tgid` gives them: process above, thread below.
#[inline(always)]
pub fn current_ids() -> u64 {
    if g::PID_NS.load() == 0 {
        // SAFETY: no arguments.
        return unsafe { bpf_get_current_pid_tgid() };
    }
    let task = probed_task();
    u64::from(tgid(task)) << 32 | u64::from(tid(task))
}

/// Of the process that a thread belongs to.
#[inline(always)]
pub fn tgid<M: Mode>(thread: Ptr<M>) -> u32 {
    if g::PID_NS.load() == 0 {
        return thread.field(&g::OFF_TASK_TGID);
    }
    tid(thread.probed().follow(&g::OFF_TASK_LEADER))
}

#[inline(always)]
pub fn tid<M: Mode>(thread: Ptr<M>) -> u32 {
    if g::PID_NS.load() == 0 {
        return thread.field(&g::OFF_TASK_PID);
    }
    number_here(thread.probed().follow(&g::OFF_TASK_PID_STRUCT).addr()) as u32
}

/// The number of a `struct pid` in /proc's namespace; [`OUTSIDE`] where it has none there. A global
/// function to the verifier, which follows the loop once and not at every call.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn number_here(pid: u64) -> u64 {
    let wanted = g::PID_NS.load();
    if wanted == 0 {
        return 0;
    }
    let pid = Ptr::<Probed>::new(pid as *const core::ffi::c_void);
    let place = |offset: &Optional| offset.get().unwrap_or(0);
    let first = place(&g::OFF_PID_FIRST);
    let size = place(&g::OFF_PID_SECOND).wrapping_sub(first);
    let mut level: u32 = pid.field(&g::OFF_PID_LEVEL);
    let mut steps = 0;
    // From its own namespace, which mostly is the one, up to the first.
    while steps <= MAX_PID_NS_LEVEL && level <= MAX_PID_NS_LEVEL {
        let at = u64::from(first) + u64::from(level) * u64::from(size);
        let entry = Ptr::<Probed>::new((pid.addr() + at) as *const core::ffi::c_void);
        let namespace = entry.follow(&g::OFF_UPID_NS);
        if namespace.field::<u32>(&g::OFF_PIDNS_INUM) == wanted {
            return u64::from(entry.field::<u32>(&g::OFF_UPID_NR));
        }
        level = level.wrapping_sub(1);
        steps += 1;
    }
    u64::from(OUTSIDE)
}
