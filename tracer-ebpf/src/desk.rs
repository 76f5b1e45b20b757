//! Where a walk of a runtime's frames leaves them until they are copied: the stack has no room for them. Another thread
//! may get this CPU meanwhile and work here; user space compares what it is sent with the key of the call besides.

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};
use tracer_common::runtime::{Activation, MANAGED_NONE, MANAGED_UNREAD, MAX_MANAGED};

use crate::{
    maps::DESK,
    v8::{Piece, SPAN},
};

pub type Left = [Activation; MAX_MANAGED];

#[repr(C)]
pub struct Desk {
    /// The thread that has begun on it last.
    of: u64,
    outcome: Outcome,
    left: Left,
    /// What frames are taken from.
    piece: Piece<SPAN>,
}

/// What a walk came to.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Outcome {
    /// A `MANAGED_*`.
    pub how: u32,
    /// So many frames, innermost first.
    pub frames: u32,
    /// Of Java: code address, stack pointer and frame pointer with which it was left.
    pub from: [u64; 3],
}

impl Outcome {
    #[inline(always)]
    pub const fn of(how: u32, frames: u32) -> Self {
        Self {
            how,
            frames,
            from: [0; 3],
        }
    }
}

/// This CPU's desk, begun on by this thread.
#[derive(Clone, Copy)]
pub struct Work {
    desk: *mut Desk,
    thread: u64,
}

impl Work {
    #[inline(always)]
    pub fn begin() -> Option<Self> {
        let desk = DESK.get_ptr_mut(0)?;
        let thread = this_thread();
        // SAFETY: a valid map element of plain numbers. Volatile, for others write there too.
        unsafe { (&raw mut (*desk).of).write_volatile(thread) };
        let work = Self { desk, thread };
        work.came_from([0; 3]);
        Some(work)
    }

    /// Nobody else has begun on it since.
    #[inline(always)]
    pub fn is_mine(self) -> bool {
        is_of(self.desk, self.thread)
    }

    #[inline(always)]
    pub fn thread(self) -> u64 {
        self.thread
    }

    #[inline(always)]
    pub fn left(self) -> *mut Activation {
        // SAFETY: a valid map element.
        unsafe { (&raw mut (*self.desk).left).cast() }
    }

    #[inline(always)]
    pub fn piece(self) -> *mut Piece<SPAN> {
        // SAFETY: a valid map element.
        unsafe { &raw mut (*self.desk).piece }
    }

    /// The same place for something smaller: before 6.13 the frames of a hook and of what it calls share 512 bytes.
    #[inline(always)]
    pub fn room<T>(self) -> *mut T {
        const { assert!(size_of::<T>() <= size_of::<Piece<SPAN>>()) };
        self.piece().cast()
    }

    #[inline(always)]
    pub fn leave(self, number: usize, code: u64, instruction: u64) {
        // SAFETY: a place in the array.
        unsafe {
            let place = self.left().add(number & (MAX_MANAGED - 1));
            put(place, code, instruction);
        }
    }

    #[inline(always)]
    pub fn came_from(self, [pc, sp, fp]: [u64; 3]) {
        // SAFETY: a valid map element of plain numbers. Volatile: see `put`.
        unsafe {
            let from = (&raw mut (*self.desk).outcome.from).cast::<u64>();
            from.write_volatile(pc);
            from.add(1).write_volatile(sp);
            from.add(2).write_volatile(fp);
        }
    }

    #[inline(always)]
    pub fn end(self, how: u32, frames: u32) {
        // SAFETY: as above.
        unsafe {
            let outcome = &raw mut (*self.desk).outcome;
            (&raw mut (*outcome).how).write_volatile(how);
            (&raw mut (*outcome).frames).write_volatile(frames);
        }
    }
}

/// Writes one frame, word by word: a structure that is zero the compiler sets by a call that does so byte by byte.
///
/// # Safety
/// It is a valid place.
#[inline(always)]
pub unsafe fn put(place: *mut Activation, code: u64, instruction: u64) {
    // SAFETY: as the caller says.
    unsafe {
        (&raw mut (*place).code).write_volatile(code);
        (&raw mut (*place).instruction).write_volatile(instruction);
    }
}

/// Copies what the walk before this has left.
#[inline(always)]
pub fn copy(to: *mut Left) -> Outcome {
    let Some(desk) = DESK.get_ptr_mut(0) else {
        return Outcome::of(MANAGED_NONE, 0);
    };
    // SAFETY: both have that size. By a helper: word by word they would take up the stack.
    let outcome = unsafe {
        bpf_probe_read_kernel(
            to.cast(),
            size_of::<Left>() as u32,
            (&raw const (*desk).left).cast(),
        );
        (*desk).outcome
    };
    if is_of(desk, this_thread()) {
        outcome
    } else {
        Outcome::of(MANAGED_UNREAD, 0)
    }
}

#[inline(always)]
fn this_thread() -> u64 {
    // SAFETY: takes nothing and touches no memory.
    unsafe { bpf_get_current_pid_tgid() }
}

#[inline(always)]
fn is_of(desk: *mut Desk, thread: u64) -> bool {
    // SAFETY: a valid map element.
    unsafe { (&raw const (*desk).of).read_volatile() == thread }
}
