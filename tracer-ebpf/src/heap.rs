//! The frames that a virtual thread of Java has on the heap: those that were not copied back to the stack of the thread
//! that carries it since it waited last. A collector that moves objects leaves what it has moved as it was for
//! longer than a walk takes, and no walk begins while one does so.
//!
//! Global functions, so that the verifier goes through each once and not in every step of a walk.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::runtime::{Runtime, heap};

use crate::{
    globals as g,
    runtime::{entry, word},
};

/// In the record of a mounted virtual thread, behind the one it was mounted on: the object of its stack
/// (src/hotspot/share/runtime/continuationEntry.hpp has them so since 21).
const STACK_OBJECT: u64 = 16;

/// The object with the innermost frames on the heap, of the virtual thread whose record the word at `at` leads to; 0 where
/// nothing is known of it.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn innermost_chunk(runtime: u64, at: u64) -> u64 {
    let Some(of) = known(runtime) else {
        return 0;
    };
    match byte(of.collecting) {
        Some(0) => {}
        _ => return 0,
    }
    let Some(record) = word(at) else {
        return 0;
    };
    match word(record.wrapping_add(STACK_OBJECT)) {
        Some(stack) if record != 0 => reference(of, stack, heap::TAIL),
        _ => 0,
    }
}

/// The one with the frames further out; 0 where there is none.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn outer_chunk(runtime: u64, chunk: u64) -> u64 {
    match known(runtime) {
        Some(of) => reference(of, chunk, heap::PARENT),
        None => 0,
    }
}

/// Where its frames begin and end, in words, as two halves of one; 0 where it is no such object.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn extent_of_chunk(runtime: u64, chunk: u64) -> u64 {
    let Some(of) = known(runtime) else {
        return 0;
    };
    let place = |of_what| chunk.wrapping_add(heap::place(of.heap, of_what));
    match word(place(heap::CLASS)) {
        Some(class) if class & of.chunk_mask == of.chunk => {}
        _ => return 0,
    }
    let (Some(sp), Some(bottom)) = (word(place(heap::SP)), word(place(heap::BOTTOM))) else {
        return 0;
    };
    u64::from(sp as u32) | bottom << 32
}

/// What lies there; 0 where that cannot be read.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn word_of_chunk(at: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    word(at).unwrap_or(0)
}

#[inline(always)]
fn known<'r>(runtime: u64) -> Option<&'r Runtime> {
    if g::HAS_REGS.load() == 0 {
        return None;
    }
    // SAFETY: a valid map element.
    let of = unsafe { &*entry(runtime)? };
    (of.heap != 0).then_some(of)
}

#[inline(always)]
fn reference(of: &Runtime, object: u64, place: u32) -> u64 {
    let at = object.wrapping_add(heap::place(of.heap, place));
    word(at).map_or(0, |word| heap::address(of.heap, of.heap_base, word))
}

#[inline(always)]
fn byte(at: u64) -> Option<u8> {
    let mut byte = MaybeUninit::<u8>::uninit();
    // SAFETY: the destination has that size; the helper checks the source, and clears the destination when it fails.
    unsafe {
        let failed = bpf_probe_read_user(byte.as_mut_ptr().cast(), 1, at as *const _);
        (failed == 0).then_some(byte.assume_init())
    }
}
