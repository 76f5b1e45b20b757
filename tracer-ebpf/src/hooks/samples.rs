//! What of an interpreter a thread executes at a moment of its time on a CPU. Sits on no kernel function: the kernel runs it
//! when the clock of a sampled thread fires (kernel/events/core.c:__perf_event_overflow), in the timer's interrupt and
//! with that thread as `current`. Checked on 6.18.
//!
//! An interpreter enters a function by one store of a pointer, when the frame that it leads to is filled in, and leaves it
//! so: what it was about to enter is not among its frames. As compiled the stores may come in another order, so one
//! sample proves nothing; only what many of them share is told. So it is with V8, whose functions have frames on the stack.

use tracer_common::{
    counter::Counter,
    event::{Header, KIND_SAMPLED, Sampled},
    runtime::{Activation, KIND_INTERPRETER, KIND_ONE_THREAD, KIND_V8},
};

use crate::{
    current_task::{CurrentTask, regs_of},
    emit::now,
    globals as g,
    maps::STACKS,
    runtime::{self, find_runtime, kind_of},
    skip::{Skip, count},
    stack::layout_of,
    v8,
};

/// `BPF_RB_NO_WAKEUP` (include/uapi/linux/bpf.h): the ring is emptied often enough.
const NO_WAKEUP: u64 = 1;

/// Frames of one sample. Without `bpf_loop` the verifier goes through each turn.
const MOST: usize = if cfg!(feature = "helper-loops") {
    tracer_common::runtime::MAX_SAMPLED
} else {
    tracer_common::runtime::MAX_MANAGED
};

#[inline(always)]
pub fn on_sample() -> Result<(), Skip> {
    if g::HAS_REGS.load() == 0 {
        return Err(Skip::Nothing);
    }
    let current = CurrentTask::current()?;
    let Some(task) = current.with_user_stack() else {
        return Err(Skip::StackNone);
    };
    let runtime = find_runtime(layout_of(task.follow(&g::OFF_TASK_MM)));
    let kind = kind_of(runtime);
    let has_functions = matches!(kind, KIND_INTERPRETER | KIND_ONE_THREAD | KIND_V8);
    if runtime == 0 || !has_functions {
        return Err(Skip::Nothing);
    }
    let Some(mut entry) = STACKS.reserve::<Sampled>(0) else {
        count(Counter::StackLost);
        return Err(Skip::Nothing);
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record, what a walk has numbered is below MOST, and all fields
    // before the frames are written.
    unsafe {
        (*record).header = Header {
            kind: KIND_SAMPLED,
            len: size_of::<Sampled>() as u32,
            at: now(),
        };
        (*record).tgid = current.tgid;
        (*record).tid = current.tid;
        let activations = (&raw mut (*record).activations).cast::<Activation>();
        let on_frame = |number: usize, one| *activations.add(number & (MOST - 1)) = one;
        let window = &raw mut (*record).window;
        let most = MOST as u32;
        let (managed, frames) = if kind == KIND_V8 {
            let regs = regs_of(task);
            let at = (regs.field(&g::OFF_REGS_SP), regs.field(&g::OFF_REGS_FP));
            v8::walk_interrupted::<MOST>(runtime, at, window.cast(), activations)
        } else {
            let thread = task.field(&g::OFF_TASK_TP);
            runtime::walk(runtime, thread, most, window, on_frame)
        };
        (*record).managed = managed;
        (*record).managed_frames = frames;
    }
    entry.submit(NO_WAKEUP);
    Ok(())
}
