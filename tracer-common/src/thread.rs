//! One fixed-size record per thread of an asked-for process, in the stream of the iterator over tasks.

use crate::wire;

/// The thread was off the CPU and did not run while it was looked at: what is said of it belongs
/// together.
pub const THREAD_STILL: u32 = 1;
/// The registers are those with which it entered the kernel.
pub const THREAD_HAS_REGS: u32 = 2;
/// By the system calls of 32-bit programs, which have other numbers and layouts.
pub const THREAD_IS_COMPAT: u32 = 4;

pub const ARGUMENTS: usize = 6;

wire! {
    pub struct ThreadItem {
        /// `CLOCK_MONOTONIC` nanoseconds when it was looked at.
        pub now: u64,
        /// The scheduler's clock at most that late; 0 where it cannot be read.
        pub sched_now: u64,
        /// When the thread last left a CPU, by the scheduler's clock or a little later; 0 when unknown.
        pub ran: u64,
        /// How often it has left a CPU: while this stays, it has not run.
        pub switches: u64,
        /// How often to wait, and not because another task took its place.
        pub waits: u64,
        /// Start of the process, `CLOCK_BOOTTIME` nanoseconds.
        pub start_boot: u64,
        /// Of the thread itself.
        pub began_boot: u64,
        pub pc: u64,
        pub sp: u64,
        pub fp: u64,
        /// Link register; 0 on architectures without one.
        pub lr: u64,
        /// Base of the thread's own data (x86: fs, arm64: `tpidr_el0`); 0 when unknown.
        pub thread_pointer: u64,
        /// Of the system call.
        pub arguments: [u64; ARGUMENTS],
        /// Number of the system call; -1 outside of one.
        pub call: i32,
        /// `task_struct.state`, with `exit_state` joined in.
        pub state: u32,
        pub tgid: u32,
        pub tid: u32,
        pub flags: u32,
        pub reserved: u32,
        pub comm: [u8; 16],
    }
}

const _: () = assert!(size_of::<ThreadItem>() == 96 + 48 + 24 + 16);
