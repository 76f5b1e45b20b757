//! Walks the frames of JavaScript below the current system call: from where V8 has called C++ last, by frame pointers, which
//! all of its own frames keep. What V8 entered from C++ on the way remembers where JavaScript was left before. User space
//! has learnt where all this is (`tracer_common::runtime`).
//!
//! Twice: first the way, which is on the stack alone, and then what the functions on it are, which takes reads all over the
//! heap. Where the same way was gone just before, that is known (`believed`).

mod believed;
mod named;
mod way;

use core::ffi::c_void;

use tracer_common::{
    runtime::{
        Activation, KIND_V8, MANAGED_DEEPER, MANAGED_NONE, MANAGED_UNREAD, MANAGED_WHOLE,
        MAX_MANAGED, Runtime,
    },
    stack_key,
};

pub use self::believed::{BELIEVED_WAYS, Believed, CODE_PLACES};
pub use self::way::Piece;
use self::{
    believed::{believe, believed},
    named::Named,
    way::Way,
};
use crate::{
    desk::Work,
    globals as g,
    repeat::repeat,
    runtime::{entry, is_first_thread, word},
};

/// As for Java: C++ does not take more below JavaScript.
const MAX_NATIVE: u64 = 64 << 20;
/// Words of the stack from which a frame can be taken without another read: the frames of a call mostly lie in 2 KiB.
pub const SPAN: usize = 256;
const MOST: usize = MAX_MANAGED;
/// Of frames for which there is room, how many are walked. Without the helper for loops the verifier follows every turn.
const fn turns(most: usize) -> u32 {
    if cfg!(feature = "helper-loops") {
        most as u32
    } else {
        8
    }
}

/// What the thread with this stack pointer executes, as a part of its key, as `walk_managed` does. With 0 for `now` nothing
/// is believed, and all frames are left for a copy.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_v8(runtime: u64, sp: u64, now: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let Some(work) = Work::begin() else {
        return 0;
    };
    let (how, seen, functions) = walk(runtime, sp, now, work);
    work.end(how, seen);
    match how {
        MANAGED_WHOLE | MANAGED_DEEPER => functions,
        MANAGED_UNREAD => stack_key::UNREAD,
        _ => 0,
    }
}

/// A `MANAGED_*`, the number of frames and the hash of their functions.
#[inline(always)]
fn walk(runtime: u64, sp: u64, now: u64, work: Work) -> (u32, u32, u64) {
    let Some(of) = of_first_thread(runtime) else {
        return (MANAGED_NONE, 0, 0);
    };
    let Some(fp) = word(of.state) else {
        return (MANAGED_UNREAD, 0, 0);
    };
    if fp.wrapping_sub(sp) > MAX_NATIVE {
        return (MANAGED_NONE, 0, 0);
    }
    let left = work.left();
    let mut way =
        Way::<SPAN, MOST, false>::from(of.tag, work.thread(), (sp, fp), work.piece(), left);
    repeat(const { turns(MOST) }, &mut way);
    if way.how == MANAGED_UNREAD || !work.is_mine() {
        return (MANAGED_UNREAD, 0, 0);
    }
    let known = believed(way.gone, now);
    if known != 0 {
        return (way.how, way.seen, known);
    }
    let mut named = Named::<MOST, false>::of(of, left, way.seen);
    repeat(const { turns(MOST) }, &mut named);
    if named.unread || !work.is_mine() {
        return (MANAGED_UNREAD, 0, 0);
    }
    believe(way.gone, named.hash, now);
    (way.how, way.seen, named.hash)
}

/// The same of a thread that was interrupted with these registers, and of as many frames as there is room for.
///
/// JavaScript that is interrupted has left nowhere: then it is from the frame pointer on, which no code of V8 uses for
/// anything else. C++ does, so such a way is believed only where it comes to an entry from C++, and to the first of all.
#[inline(always)]
pub fn walk_interrupted<const MOST: usize>(
    runtime: u64,
    (sp, fp): (u64, u64),
    room: *mut c_void,
    left: *mut Activation,
) -> (u32, u32) {
    let Some(of) = of_first_thread(runtime) else {
        return (MANAGED_NONE, 0);
    };
    let Some(called) = word(of.state) else {
        return (MANAGED_UNREAD, 0);
    };
    let fp = if called == 0 { fp } else { called };
    if fp.wrapping_sub(sp) > MAX_NATIVE {
        return (MANAGED_NONE, 0);
    }
    let mut way = Way::<1, MOST, true>::from(of.tag, 0, (sp, fp), room.cast(), left);
    repeat(const { turns(MOST) }, &mut way);
    let mut named = Named::<MOST, true>::of(of, left, way.seen);
    repeat(const { turns(MOST) }, &mut named);
    let is_of_javascript = if way.how == MANAGED_WHOLE {
        way.entered
    } else {
        named.hash
    };
    let how = if is_of_javascript == 0 {
        MANAGED_NONE
    } else {
        way.how
    };
    (how, way.seen)
}

#[inline(always)]
fn of_first_thread<'r>(runtime: u64) -> Option<&'r Runtime> {
    // SAFETY: a valid map element.
    let of = unsafe { &*entry(runtime)? };
    (of.kind == KIND_V8 && is_first_thread()).then_some(of)
}
