//! What the threads of asked-for processes wait in, and since when: iterator `task`
//! (kernel/bpf/task_iter.c:bpf_iter__task). Checked on 5.10, 6.1, 6.18. `current` is the reader, and
//! here only lends its clock.
//!
//! Since when a thread has not run is `se.exec_start`: the scheduler sets it to the time when a task
//! leaves the CPU (kernel/sched/fair.c:update_curr, for all scheduling classes), by the clock of the
//! task's run queue less the time that interrupts and the hypervisor took there (`rq.clock_task`,
//! kernel/sched/core.c:update_rq_clock_task). That difference only grows, so adding what it is now gives
//! a moment on `rq.clock`, which all CPUs share, that is never before the true one.

use core::ffi::c_void;

use tracer_common::thread::{
    ARGUMENTS, THREAD_HAS_REGS, THREAD_IS_COMPAT, THREAD_STILL, ThreadItem,
};

use super::iterators::{IterMeta, write};
use crate::{
    current_task::{probed_task, regs_of},
    emit::now,
    globals as g,
    kread::{Probed, Ptr, Typed},
    maps::ASKED,
    pidns,
    skip::Skip,
};

#[repr(C)]
pub struct IterTask {
    meta: *const IterMeta,
    task: *const c_void,
}

#[inline(always)]
pub fn on_task(ctx: *mut IterTask) -> Result<(), Skip> {
    // SAFETY: the kernel passes its context for this iterator.
    let (meta, thread) = unsafe { ((*ctx).meta, (*ctx).task) };
    if thread.is_null() {
        return Ok(());
    }
    let thread = Ptr::<Typed>::new(thread);
    let tgid = pidns::tgid(thread);
    if ASKED.get_ptr(tgid).is_none() {
        return Err(Skip::Filtered);
    }
    let switches = switches(thread);
    let still = is_off_cpu(thread);
    let mut item = describe(thread, tgid, switches);
    if g::HAS_REGS.load() != 0 {
        let regs = regs_of(thread);
        item.flags |= THREAD_HAS_REGS;
        item.pc = regs.field(&g::OFF_REGS_PC);
        item.sp = regs.field(&g::OFF_REGS_SP);
        item.fp = regs.field(&g::OFF_REGS_FP);
        item.lr = regs.field(&g::OFF_REGS_LR);
        item.arguments = [
            regs.field(&g::OFF_REGS_ARG0),
            regs.field(&g::OFF_REGS_ARG1),
            regs.field(&g::OFF_REGS_ARG2),
            regs.field(&g::OFF_REGS_ARG3),
            regs.field(&g::OFF_REGS_ARG4),
            regs.field(&g::OFF_REGS_ARG5),
        ];
        item.call = regs.field(&g::OFF_REGS_CALL);
        if is_compat(thread, regs) {
            item.flags |= THREAD_IS_COMPAT;
        }
    }
    if still && is_off_cpu(thread) && self::switches(thread) == switches {
        item.flags |= THREAD_STILL;
    }
    write(meta, &item);
    Ok(())
}

#[inline(always)]
fn describe(thread: Ptr<Typed>, tgid: u32, switches: u64) -> ThreadItem {
    let state: u32 = thread.field(&g::OFF_TASK_STATE);
    // Pointers not by one that the verifier trusts: see `Sock::file_socket`.
    let leader = thread.probed().follow(&g::OFF_TASK_LEADER);
    // The clock before the time: it may be as old as the last tick, and so never too new.
    let sched_now = clock(probed_task());
    ThreadItem {
        now: now(),
        sched_now,
        ran: left_cpu(thread.probed()),
        switches,
        waits: thread.field(&g::OFF_TASK_NVCSW),
        start_boot: leader.field(&g::OFF_TASK_START),
        began_boot: thread.field(&g::OFF_TASK_START),
        pc: 0,
        sp: 0,
        fp: 0,
        lr: 0,
        thread_pointer: thread.field(&g::OFF_TASK_TP),
        arguments: [0; ARGUMENTS],
        call: -1,
        state: state | thread.field::<u32>(&g::OFF_TASK_EXIT_STATE),
        tgid,
        tid: pidns::tid(thread),
        flags: 0,
        reserved: 0,
        comm: thread.comm(&g::OFF_TASK_COMM),
    }
}

/// In a system call of 32-bit programs: `TS_COMPAT` of arch/x86/include/asm/thread_info.h, which lasts until
/// the call returns; the execution state in the saved pstate on arm64 (`PSR_MODE32_BIT`).
#[inline(always)]
fn is_compat(thread: Ptr<Typed>, regs: Ptr<Typed>) -> bool {
    const TS_COMPAT: u32 = 0x2;
    const PSR_MODE32_BIT: u64 = 0x10;
    let status: u32 = thread.field(&g::OFF_TASK_STATUS);
    let pstate: u64 = regs.field(&g::OFF_REGS_PSTATE);
    status & TS_COMPAT != 0 || pstate & PSR_MODE32_BIT != 0
}

/// Both counts move when a task has left the CPU and before it is said to be off it
/// (kernel/sched/core.c:__schedule).
#[inline(always)]
fn switches(thread: Ptr<Typed>) -> u64 {
    thread
        .field::<u64>(&g::OFF_TASK_NVCSW)
        .wrapping_add(thread.field(&g::OFF_TASK_NIVCSW))
}

/// Neither running nor about to: waiting, stopped or dead.
#[inline(always)]
fn is_off_cpu(thread: Ptr<Typed>) -> bool {
    // An int before 7.2, a byte since; it is 0 or 1, and the first byte is the low one where this runs.
    let on_cpu: u8 = thread.field(&g::OFF_TASK_ON_CPU);
    let state: u32 = thread.field(&g::OFF_TASK_STATE);
    on_cpu == 0 && state != 0
}

#[inline(always)]
fn left_cpu(thread: Ptr<Probed>) -> u64 {
    let queue = run_queue(thread);
    let ran: u64 = thread.field(&g::OFF_TASK_EXEC_START);
    if queue.is_null() || ran == 0 {
        return 0;
    }
    // In this order: a later clock only makes the moment later.
    let of_tasks: u64 = queue.field(&g::OFF_RQ_CLOCK_TASK);
    let of_all: u64 = queue.field(&g::OFF_RQ_CLOCK);
    ran.wrapping_add(of_all.saturating_sub(of_tasks))
}

#[inline(always)]
fn clock(thread: Ptr<Probed>) -> u64 {
    let queue = run_queue(thread);
    if queue.is_null() {
        return 0;
    }
    queue.field(&g::OFF_RQ_CLOCK)
}

/// Of the CPU that the task ran on last.
#[inline(always)]
fn run_queue(thread: Ptr<Probed>) -> Ptr<Probed> {
    let fair = thread.follow(&g::OFF_TASK_CFS_RQ);
    if fair.is_null() {
        return fair;
    }
    fair.follow(&g::OFF_CFS_RQ_RQ)
}
