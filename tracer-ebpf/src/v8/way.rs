//! From frame to frame, by what lies on the stack alone: which closure each executes and where, and where its caller is.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::{
    event::PAGE,
    runtime::{Activation, MANAGED_DEEPER, MANAGED_UNREAD, MANAGED_WHOLE, v8},
    stack_key::fold,
};

use super::{
    MAX_NATIVE,
    believed::{UNREADABLE, is_interpreted},
};
use crate::{
    choice::{forgotten, if_below, if_equal},
    desk::put,
    repeat::Turn,
};

/// From what an entry from C++ saves (`EntryFrameConstants` of `execution/x64/frame-constants-x64.h`) to the return address.
const WORDS: usize = 10;
const FRAME: u64 = (WORDS * 8) as u64;
const BELOW: u64 = 64;
const LEFT_BEFORE: usize = 0;
const OFFSET: usize = 3;
const BYTECODE: usize = 4;
const CLOSURE: usize = 6;
const CONTEXT: usize = 7;
const CALLER: usize = 8;
const RETURN: usize = 9;
/// In place of the context, which is an object: an entry from C++, also of a constructor (`StackFrame::TypeToMarker`).
const ENTRY: u64 = 1 << 1;
const ENTRY_OF_CONSTRUCTOR: u64 = 2 << 1;
/// From a frame pointer down to the last word by which a frame tells its function.
const TOLD: u64 = 16;

/// What is read of the stack at once: a larger read costs little more. At each of `SPAN` words a frame may begin.
#[repr(C)]
pub struct Piece<const SPAN: usize> {
    span: [u64; SPAN],
    rest: [u64; WORDS - 1],
}

/// Where the walk is, and what it goes by. `ANY`: between any two instructions, so frames may be met that V8 has not made, or
/// not yet, which tell no function; a system call is made in none.
pub struct Way<const SPAN: usize, const MOST: usize, const ANY: bool> {
    layout: u64,
    piece: *mut Piece<SPAN>,
    /// Of which place it is.
    from: u64,
    /// At so many of its words a frame can be taken.
    room: u64,
    left: *mut Activation,
    sp: u64,
    fp: u64,
    /// Where in its code this frame goes on; 0 where nobody knows, in a frame of no function.
    pc: u64,
    /// A `MANAGED_*`: what is said when the last turn does not end it.
    pub how: u32,
    pub seen: u32,
    /// Not 0: the last frame that was left is an entry from C++.
    pub entered: u64,
    /// All that it went by, folded.
    pub gone: u64,
}

impl<const SPAN: usize, const MOST: usize, const ANY: bool> Way<SPAN, MOST, ANY> {
    /// Each frame is noted in `left`: its closure, 0 in one of no function, and where that is (`v8::place`).
    #[inline(always)]
    pub fn from(
        layout: u64,
        thread: u64,
        (sp, fp): (u64, u64),
        piece: *mut Piece<SPAN>,
        left: *mut Activation,
    ) -> Self {
        // Numbers of which the verifier knows no more than of those that later turns have.
        let any = |number: u32| forgotten(u64::from(number), sp);
        Self {
            layout,
            piece,
            from: any(0),
            room: any(0),
            left,
            sp,
            fp,
            pc: any(0),
            how: any(MANAGED_DEEPER) as u32,
            seen: any(0) as u32,
            entered: any(0),
            gone: fold(layout, thread),
        }
    }

    /// Leaves one frame; what the walk comes to where it ends.
    #[inline(always)]
    fn step(&mut self, number: u32) -> Option<u32> {
        let (fp, pc) = (self.fp, self.pc);
        if fp == 0 {
            return Some(MANAGED_WHOLE);
        }
        let at = fp.wrapping_sub(BELOW);
        // In words; what is none lies far away.
        let mut place = at.wrapping_sub(self.from).rotate_right(3);
        let is_there = (place.wrapping_sub(self.room) & !place) >> 63;
        if is_there == 0 {
            if !self.fill(at) {
                return Some(MANAGED_UNREAD);
            }
            place = 0;
        }
        let words: *const u64 = self.piece.cast();
        // SAFETY: SPAN is a power of two, and so many words more are behind it.
        let words = unsafe { words.add(place as usize & (SPAN - 1)) };
        // SAFETY: as above; all are filled.
        let word = |number: usize| unsafe { *words.add(number) };
        let (context, closure) = (word(CONTEXT), word(CLOSURE));
        let mut is_function = (context & 1).wrapping_neg();
        if ANY {
            let is_told = if_below(self.sp, fp.wrapping_sub(TOLD - 1));
            is_function &= (closure & 1).wrapping_neg() & is_told;
        }
        let (mut code, mut instruction) = (0, 0);
        if is_function != 0 {
            let interpreted = is_interpreted(pc, self.layout);
            if !ANY && (interpreted == UNREADABLE || closure & 1 == 0) {
                return Some(MANAGED_UNREAD);
            }
            code = closure;
            instruction = v8::place(pc, word(OFFSET) & interpreted);
            let function = fold(closure, word(BYTECODE) & interpreted);
            self.gone = fold(fold(self.gone, function), instruction);
        }
        // SAFETY: MOST is a power of two, and so many fit.
        unsafe {
            put(
                self.left.add(number as usize & (MOST - 1)),
                code,
                instruction,
            );
        }
        self.seen = number + 1;
        let entry =
            if_equal(context, ENTRY, u64::MAX) | if_equal(context, ENTRY_OF_CONSTRUCTOR, u64::MAX);
        let next = word(LEFT_BEFORE) & entry | word(CALLER) & !entry;
        self.entered = entry;
        self.pc = word(RETURN) & !entry;
        self.fp = next;
        // Callers lie above what they called.
        let went = next.wrapping_sub(fp);
        let wrong = next != 0 && went.wrapping_sub(8) >= MAX_NATIVE;
        wrong.then_some(MANAGED_UNREAD)
    }

    /// Where the next page is not in memory the whole read fails (mm/maccess.c:copy_from_user_nofault): then up to its end.
    #[inline(always)]
    fn fill(&mut self, at: u64) -> bool {
        const { assert!(SPAN.is_power_of_two() && MOST.is_power_of_two()) };
        let bytes = size_of::<Piece<SPAN>>() as u64;
        let piece = self.piece;
        // SAFETY: the destination has that size; the helper checks the source.
        let read = |length: u64| unsafe {
            bpf_probe_read_user(piece.cast(), length as u32, at as *const c_void) == 0
        };
        self.from = at;
        self.room = SPAN as u64;
        if read(bytes) {
            return true;
        }
        let left = PAGE as u64 - (at & (PAGE as u64 - 1));
        if SPAN == 1 || left < FRAME || left >= bytes {
            return false;
        }
        self.room = ((left - FRAME) >> 3) + 1;
        read(left)
    }
}

impl<const SPAN: usize, const MOST: usize, const ANY: bool> Turn for Way<SPAN, MOST, ANY> {
    #[inline(always)]
    fn turn(&mut self, number: u32) -> bool {
        let over = self.step(number);
        if let Some(how) = over {
            self.how = forgotten(u64::from(how), self.sp) as u32;
        }
        over.is_some()
    }
}
