//! Walks the frames that an interpreter keeps of the current thread, or finds the goroutine that it runs. They cannot change
//! meanwhile: it is in a system call, or was interrupted. User space has learnt where they are (`tracer_common::runtime`).

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_probe_read_user};
use tracer_common::{
    made_by::{goroutine, mounted, virtual_thread},
    runtime::{
        ALONE, Activation, KIND_GO, KIND_INTERPRETER, KIND_ONE_THREAD, MANAGED_DEEPER,
        MANAGED_NONE, MANAGED_UNREAD, MANAGED_WHOLE, MAX_FRAME_BYTES, MAX_MANAGED, NO_FUNCTION,
        NOWHERE, REFERENCE_TAG, Runtime, places_of,
    },
    stack_key,
};

use crate::{
    choice::{forgotten, if_below, if_equal},
    desk::Work,
    globals as g,
    maps::RUNTIMES,
    repeat::{Turn, repeat},
};

const WORDS: usize = (MAX_FRAME_BYTES / 8) as usize;
/// So many bytes of each frame are read.
pub type Window = [u64; WORDS];

/// One more than the place of the runtime of processes with this layout; 0 without one. Without a branch, as
/// `walk::rule`.
#[inline(always)]
pub fn find_runtime(layout: u64) -> u64 {
    let [first, second] = places_of(layout);
    let (Some(one), Some(other)) = (RUNTIMES.get_ptr(first), RUNTIMES.get_ptr(second)) else {
        return 0;
    };
    // SAFETY: valid map elements; one aligned word of each.
    let (one, other) = unsafe { ((*one).tag, (*other).tag) };
    let number = |place: u32| u64::from(place) + 1;
    if_equal(one, layout, number(first)) | if_equal(other, layout, number(second))
}

/// The runtime's own code; nothing where there is none.
#[inline(always)]
pub fn image_of(runtime: u64) -> (u64, u64) {
    match entry(runtime) {
        // SAFETY: a valid map element.
        Some(entry) => unsafe { ((*entry).image, (*entry).image_length) },
        None => (0, 0),
    }
}

/// A `KIND_*`, or 0.
#[inline(always)]
pub fn kind_of(runtime: u64) -> u64 {
    // SAFETY: a valid map element.
    entry(runtime).map_or(0, |entry| unsafe { (*entry).kind })
}

#[inline(always)]
pub fn entry(runtime: u64) -> Option<*const Runtime> {
    if runtime == 0 {
        return None;
    }
    RUNTIMES.get_ptr((runtime - 1) as u32)
}

/// What the thread with this thread pointer executes, as a part of its key: 0 for nothing, or
/// `stack_key::UNREAD`. All frames are left for a copy.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_managed(runtime: u64, thread: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let Some(work) = Work::begin() else {
        return 0;
    };
    let mut window = MaybeUninit::<Window>::uninit();
    // Where the size of what is read is no constant, the verifier wants the place written before. Volatile, for the
    // compiler would call a function that writes byte by byte.
    let words: *mut u64 = window.as_mut_ptr().cast();
    let mut i = 0;
    while i < WORDS {
        // SAFETY: inside the window.
        unsafe { words.add(i).write_volatile(0) };
        i += 1;
    }
    let mut hash = forgotten(0, thread);
    let on_frame = |number, one: Activation| {
        work.leave(number, one.code, one.instruction);
        if one.code != 0 {
            hash = stack_key::fold_managed(hash, one.code, one.instruction);
        }
    };
    let most = MAX_MANAGED as u32;
    let (how, frames) = walk(runtime, thread, most, window.as_mut_ptr(), on_frame);
    work.end(how, frames);
    match how {
        MANAGED_WHOLE | MANAGED_DEEPER => hash,
        MANAGED_UNREAD => stack_key::UNREAD,
        _ => 0,
    }
}

/// The goroutine that the thread with this thread pointer runs, and how deep in its stack it is
/// (`goroutine::pack`), or the virtual thread (`virtual_thread::pack`); 0 where it runs none, or on another stack than
/// that.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn goroutine_of(runtime: u64, thread: u64, sp: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let Some(entry) = entry(runtime) else {
        return 0;
    };
    // SAFETY: a valid map element.
    let layout = unsafe { &*entry };
    if layout.kind != KIND_GO && layout.mounted == 0 {
        return 0;
    }
    let Some(running) = word(thread.wrapping_add(layout.state)) else {
        return 0;
    };
    if layout.kind != KIND_GO {
        return virtual_thread_of(layout.mounted, running).unwrap_or(0);
    }
    // `runtime.g` begins with the bounds of its stack.
    let (Some(low), Some(high)) = (word(running), word(running.wrapping_add(8))) else {
        return 0;
    };
    if sp < low || sp >= high {
        return 0;
    }
    match word(running.wrapping_add(layout.frame)) {
        Some(id) => goroutine::pack(id, high - sp),
        None => 0,
    }
}

/// The virtual thread that the thread with this state executes.
#[inline(always)]
fn virtual_thread_of(places: u64, state: u64) -> Option<u64> {
    let object = |of| word(word(state.wrapping_add(mounted::place(places, of)))?);
    let executed = object(mounted::EXECUTED)?;
    if executed == object(mounted::ITSELF)? {
        return None;
    }
    let id = word(executed.wrapping_add(mounted::place(places, mounted::ID)))?;
    Some(virtual_thread::pack(id))
}

/// A `MANAGED_*`, and how many frames `on_frame` was given, each with its number, innermost first, and `most` of them.
#[inline(always)]
pub fn walk(
    runtime: u64,
    thread: u64,
    most: u32,
    window: *mut Window,
    on_frame: impl FnMut(usize, Activation),
) -> (u32, u32) {
    let Some(entry) = entry(runtime) else {
        return (MANAGED_NONE, 0);
    };
    // SAFETY: a valid map element.
    let layout = unsafe { &*entry };
    let mut state = layout.state;
    match layout.kind {
        KIND_INTERPRETER => {
            let Some(of_thread) = word(thread.wrapping_add(state)) else {
                return (MANAGED_UNREAD, 0);
            };
            state = of_thread;
        }
        KIND_ONE_THREAD if is_first_thread() => {}
        _ => return (MANAGED_NONE, 0),
    }
    if state == 0 {
        return (MANAGED_NONE, 0);
    }
    let Some(mut frame) = word(state.wrapping_add(layout.frame)) else {
        return (MANAGED_UNREAD, 0);
    };
    if layout.frame_again != NOWHERE {
        let Some(again) = word(frame.wrapping_add(layout.frame_again)) else {
            return (MANAGED_UNREAD, 0);
        };
        frame = again;
    }
    if frame == 0 {
        return (MANAGED_NONE, 0);
    }
    // An array has an end, a list leads on.
    let end = if layout.stride == 0 {
        0
    } else {
        match end_of_values(state.wrapping_add(layout.values)) {
            Some(end) => end,
            None => return (MANAGED_UNREAD, 0),
        }
    };
    let mut frames = Frames {
        layout,
        window,
        end,
        at: frame,
        how: MANAGED_DEEPER,
        seen: 0,
        on_frame,
    };
    repeat(most, &mut frames);
    (frames.how, frames.seen)
}

/// Where the walk is, and what it goes by.
struct Frames<'r, F> {
    layout: &'r Runtime,
    window: *mut Window,
    /// Of an array.
    end: u64,
    at: u64,
    /// A `MANAGED_*`: what is said when the last turn does not end it.
    how: u32,
    seen: u32,
    on_frame: F,
}

impl<F: FnMut(usize, Activation)> Turn for Frames<'_, F> {
    #[inline(always)]
    fn turn(&mut self, number: u32) -> bool {
        if self.at == 0 {
            self.how = MANAGED_WHOLE;
            return true;
        }
        // Kept for a loop it would lie on the stack, where the verifier forgets what it must be below.
        // SAFETY: a valid map element.
        let bytes = unsafe { (&raw const self.layout.frame_bytes).read_volatile() };
        let size = bytes as u32 & (MAX_FRAME_BYTES as u32 - 1);
        let from = self.at as *const c_void;
        // SAFETY: the destination is larger; the helper checks the source.
        if unsafe { bpf_probe_read_user(self.window.cast(), size, from) } != 0 {
            self.how = MANAGED_UNREAD;
            return true;
        }
        let window = self.window;
        let at = |bits: u64| -> u64 {
            // SAFETY: the index is below WORDS.
            let word = unsafe { (*window)[(bits >> 6) as usize & (WORDS - 1)] };
            word >> (bits & 63)
        };
        let layout = self.layout;
        let function = at(layout.owner) & layout.owner_mask < NO_FUNCTION;
        let mut kept = u64::from(function).wrapping_neg();
        let mut code = at(layout.code) & !REFERENCE_TAG;
        let mut instruction = at(layout.instruction) & layout.instruction_mask;
        if layout.has_instructions != 0 {
            // What cannot be read is none: the helper leaves 0 there.
            let first = word(code).unwrap_or(0);
            kept &= !if_equal(first & layout.has_instructions, 0, u64::MAX);
            instruction |= ALONE;
        }
        code &= kept;
        (self.on_frame)(number as usize, Activation { code, instruction });
        let leads = if_equal(layout.stride, 0, u64::MAX);
        let above = self.at.wrapping_add(layout.stride);
        self.at = at(layout.previous) & leads | above & if_below(above, self.end);
        self.seen = number + 1;
        false
    }
}

/// Of its process.
#[inline(always)]
pub fn is_first_thread() -> bool {
    // SAFETY: takes nothing and touches no memory.
    let ids = unsafe { bpf_get_current_pid_tgid() };
    ids >> 32 == ids & 0xffff_ffff
}

/// Start and length of memory of which frames are an array.
#[inline(always)]
fn end_of_values(at: u64) -> Option<u64> {
    let (start, words) = (word(at)?, word(at.wrapping_add(8))?);
    Some(start.wrapping_add(words << 3))
}

#[inline(always)]
pub fn word(at: u64) -> Option<u64> {
    let mut word = MaybeUninit::<u64>::uninit();
    // SAFETY: the destination has that size; the helper checks the source, and clears the destination
    // when it fails.
    unsafe {
        let failed = bpf_probe_read_user(word.as_mut_ptr().cast(), 8, at as *const c_void);
        (failed == 0).then_some(word.assume_init())
    }
}
