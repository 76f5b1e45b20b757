//! The current task, for hooks whose context proves that it acts on the socket.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_task_pt_regs,
};
use tracer_common::event::OUTSIDE;

use crate::{
    globals as g,
    kread::{Probed, Ptr, Typed},
    pidns,
    skip::Skip,
};

/// include/linux/sched.h; the values have not moved since 3.x (`PF_IO_WORKER`: 5.12).
const PF_EXITING: u32 = 0x4;
const PF_IO_WORKER: u32 = 0x10;
const PF_KTHREAD: u32 = 0x0020_0000;
/// Of an exit code, as wait() has it.
const SIGNAL: u32 = 0x7f;

#[derive(Clone, Copy)]
pub struct CurrentTask {
    pub tgid: u32,
    pub tid: u32,
    flags: u32,
    /// Asked for once, because a helper call costs more than all fields read through it; null where
    /// `HAS_REGS` is off.
    task: Ptr<Typed>,
}

impl CurrentTask {
    /// In place of an `Option`, whose contents are undefined without an owner: the compiler may copy
    /// them before it looks whether there is one, and verifiers before 6.3 refuse to read what was
    /// never written (kernel/bpf/verifier.c:check_stack_read_fixed_off).
    pub const NOBODY: Self = Self {
        tgid: 0,
        tid: 0,
        flags: 0,
        task: Ptr::NULL,
    };

    /// Process 0 is the idle task, which acts on no socket.
    #[inline(always)]
    pub fn is_nobody(self) -> bool {
        self.tgid == 0
    }

    /// The acting task, unless it is the kernel's own.
    #[inline(always)]
    pub fn current() -> Result<Self, Skip> {
        let current = if g::HAS_REGS.load() != 0 {
            let task = task();
            Self {
                tgid: pidns::tgid(task),
                tid: pidns::tid(task),
                flags: task.field(&g::OFF_TASK_FLAGS),
                task,
            }
        } else {
            let ids = pidns::current_ids();
            Self {
                tgid: (ids >> 32) as u32,
                tid: ids as u32,
                flags: probed_task().field(&g::OFF_TASK_FLAGS),
                task: Ptr::NULL,
            }
        };
        if current.flags & PF_KTHREAD != 0 {
            return Err(Skip::Kernel);
        }
        Ok(current)
    }

    #[inline(always)]
    pub fn exiting(self) -> bool {
        self.flags & PF_EXITING != 0
    }

    /// Of a task that exits: by a signal.
    #[inline(always)]
    pub fn killed(self) -> bool {
        let code: u32 = if g::HAS_REGS.load() != 0 {
            self.task.field(&g::OFF_TASK_EXIT_CODE)
        } else {
            probed_task().field(&g::OFF_TASK_EXIT_CODE)
        };
        code & SIGNAL != 0
    }

    /// The task, if it has a user stack that says what it is doing and this kernel lets us look: an
    /// exiting task has none left, an io_uring worker never had one, and that of a process which /proc
    /// does not show leads nowhere.
    #[inline(always)]
    pub fn with_user_stack(self) -> Option<Ptr<Typed>> {
        let outside = g::PID_NS.load() != 0 && self.tgid == OUTSIDE;
        if g::HAS_REGS.load() == 0 || outside || self.flags & (PF_EXITING | PF_IO_WORKER) != 0 {
            return None;
        }
        Some(self.task)
    }

    /// How often the thread has left a CPU to wait; 0 where that cannot be read.
    #[inline(always)]
    pub fn waits(self) -> u32 {
        if g::HAS_REGS.load() == 0 {
            return 0;
        }
        self.task.field::<u64>(&g::OFF_TASK_NVCSW) as u32
    }

    /// How often it has left a CPU, to wait or for another to run: while that stays the same, no other thread has been where
    /// it runs.
    #[inline(always)]
    pub fn departures(self) -> u64 {
        let of = |offset| self.task.field::<u64>(offset);
        of(&g::OFF_TASK_NVCSW).wrapping_add(of(&g::OFF_TASK_NIVCSW))
    }

    /// Start of the process (not the thread), `CLOCK_BOOTTIME` nanoseconds.
    #[inline(always)]
    pub fn start_boot(self) -> u64 {
        let task = if g::HAS_REGS.load() != 0 {
            // Not by the pointer that the verifier trusts: see `Sock::file_socket`. Few calls ask for this.
            self.task.probed()
        } else {
            probed_task()
        };
        task.follow(&g::OFF_TASK_LEADER).field(&g::OFF_TASK_START)
    }
}

/// The current task as a typed pointer (kernel 5.11; callers are gated by `HAS_REGS`, 5.15).
#[inline(always)]
pub fn task() -> Ptr<Typed> {
    // SAFETY: no arguments.
    Ptr::new(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
}

#[inline(always)]
pub fn probed_task() -> Ptr<Probed> {
    // SAFETY: no arguments.
    Ptr::new(unsafe { bpf_get_current_task() } as *const core::ffi::c_void)
}

/// The registers with which a task entered the kernel; of a running task they are old.
#[inline(always)]
pub fn regs_of(task: Ptr<Typed>) -> Ptr<Typed> {
    // SAFETY: the argument is a typed task, as the helper demands.
    let regs = unsafe { bpf_task_pt_regs(task.raw().cast_mut().cast()) };
    Ptr::new(regs as *const core::ffi::c_void)
}
