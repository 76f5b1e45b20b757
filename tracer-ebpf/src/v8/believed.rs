//! What is known of a way that was just gone, so that the next call by it need not read the heap.
//!
//! A way is the same where the same frames' closures, bytecode and places in the code are. Bytecode and compiled code are
//! taken from a function only by a collection of V8's whole heap, which stops JavaScript for longer than this is believed:
//! 2.7 ms where there is nothing to collect, in Node 18, and more in later ones. So nothing can lie where another was.

use tracer_common::stack_key::fold;

use crate::{
    choice::if_equal,
    globals as g,
    maps::{BELIEVED, CODES},
    runtime::word,
};

/// How long.
const BELIEVED_NS: u64 = 100_000;
pub const BELIEVED_WAYS: u32 = 512;
pub const CODE_PLACES: u32 = 1024;
/// The interpreter calls each bytecode's code by `call rcx`, and first of all gets the function's bytecode again,
/// `mov r12, [rbp - 32]` (`Builtins::Generate_InterpreterEntryTrampoline` of `builtins/x64`).
const INTERPRETER: u64 = 0xe065_8b4c_d1ff;
const INTERPRETER_BYTES: u64 = (1 << 48) - 1;
const AFTER_CALL: u64 = 2;

/// The hash of the functions on a way, and when they were read.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Believed {
    /// Of the way and both: two CPUs may write here at once, and a mixture is of no way.
    seal: u64,
    functions: u64,
    at: u64,
}

impl Believed {
    #[inline(always)]
    const fn new(way: u64, functions: u64, at: u64) -> Self {
        Self {
            seal: fold(fold(way, functions), at),
            functions,
            at,
        }
    }
}

/// 0 where nothing is.
#[inline(always)]
pub fn believed(way: u64, now: u64) -> u64 {
    let Some(place) = BELIEVED.get_ptr(place_of(way)) else {
        return 0;
    };
    // SAFETY: a valid map element of plain numbers.
    let known = unsafe { place.read_volatile() };
    let is_of_now = now.wrapping_sub(known.at) < BELIEVED_NS;
    if is_of_now && known.seal == Believed::new(way, known.functions, known.at).seal {
        known.functions
    } else {
        0
    }
}

#[inline(always)]
pub fn believe(way: u64, functions: u64, now: u64) {
    if let Some(place) = BELIEVED.get_ptr_mut(place_of(way)) {
        // SAFETY: as above.
        unsafe { place.write_volatile(Believed::new(way, functions, now)) };
    }
}

#[inline(always)]
fn place_of(way: u64) -> u32 {
    (way >> 32) as u32 & (BELIEVED_WAYS - 1)
}

/// The code there cannot be read.
pub const UNREADABLE: u64 = 1;

/// All bits where the interpreter goes on at this address, of a process with this layout; none elsewhere, or [`UNREADABLE`]. It is
/// remembered, for it stays so: code that takes the place of other code is not the interpreter's.
#[inline(always)]
pub fn is_interpreted(pc: u64, layout: u64) -> u64 {
    let tag = fold(layout, pc) & !1;
    let Some(place) = CODES.get_ptr(place_of_code(tag)) else {
        return UNREADABLE;
    };
    // SAFETY: a valid map element, one aligned word.
    let known = unsafe { place.read_volatile() };
    if known & !1 == tag {
        return (known & 1).wrapping_neg();
    }
    learn_code(pc, tag)
}

/// The same, checked by the verifier once: seldom.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn learn_code(pc: u64, tag: u64) -> u64 {
    if g::HAS_REGS.load() == 0 || pc == 0 {
        return 0;
    }
    let (Some(place), Some(code)) = (
        CODES.get_ptr_mut(place_of_code(tag)),
        word(pc.wrapping_sub(AFTER_CALL)),
    ) else {
        return UNREADABLE;
    };
    let is = if_equal(code & INTERPRETER_BYTES, INTERPRETER, 1);
    // SAFETY: as above.
    unsafe { place.write_volatile(tag | is) };
    is.wrapping_neg()
}

#[inline(always)]
fn place_of_code(tag: u64) -> u32 {
    (tag >> 32) as u32 & (CODE_PLACES - 1)
}
