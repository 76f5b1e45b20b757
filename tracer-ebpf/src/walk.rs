//! Walks a user stack by the unwind rows and folds every return address on the way into a hash.
//!
//! Exact: the row of a code address says where its caller's return address lies, so each address is
//! read at its own place and decides where the next one is. Nothing is guessed: where a row is
//! missing the walk ends, and the key says so. The rows and what they mean: `tracer_common::unwind`.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::{
    event::PAGE,
    stack_key::{self, MAX_STEPS},
    unwind::{self, C_LIBRARY_SHIFT, FP_SHIFT, KIND_FP, KIND_OUTERMOST, KIND_SHIFT, KIND_SP},
};

use crate::{
    choice::{differ, forgotten, hidden, if_equal},
    globals as g,
    maps::{ROWS, WALKED, WINDOW},
    repeat::{Turn, repeat},
    runtime::image_of,
};

/// Words read at once: a larger read costs little more, and another one as much as all the rest of some steps. So many hold
/// the return addresses of most walks, where functions have variables of their own.
const WORDS: usize = 128;
/// What keeps a length or an offset inside of them, to the verifier.
const INSIDE: u64 = (WORDS * 8 - 1) as u64;
/// Bytes read at once where the page has so many left, for the next page may not be in memory; across its end these few.
const MOST: u64 = INSIDE & !7;
const LEAST: u64 = 216;
/// No frame is larger: beyond is a damaged stack or a row that does not belong to it.
const MAX_FRAME: u64 = 1 << 20;

pub type Words = [u64; WORDS];

/// The rule for leaving the frame at `address`; 0 without one.
#[inline(always)]
pub fn rule(address: u64, layout: u64) -> u64 {
    let tag = unwind::tag(address, layout);
    let Some(set) = ROWS.get_ptr(unwind::set_of(tag)) else {
        return 0;
    };
    // SAFETY: a valid map element; user space writes whole words.
    let rows = unsafe { &(*set).rows };
    let mut rule = 0;
    let mut i = 0;
    while i < rows.len() {
        rule |= if_equal(rows[i].tag, tag, rows[i].rule);
        i += 1;
    }
    rule
}

/// The key of the stack below a system call at `pc`, not yet of its process (`stack_key`). Ends where the code
/// of `runtime` has called, if that is not 0: what it executes is told by its own frames. A global function to
/// the verifier, checked once and not at every call.
///
/// The piece of the stack lies in this CPU's `WINDOW`, since before 6.13 the frames of a hook and of what it calls share 512
/// bytes. Another thread that gets this CPU meanwhile may write there: whoever calls has to see that none did.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_stack(pc: u64, sp: u64, fp: u64, layout: u64, runtime: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let Some(words) = WINDOW.get_ptr(0) else {
        return 0;
    };
    let mut walk = Walk::at(pc, sp, fp);
    if !walk.begin() {
        return stack_key::of_walk(walk.hash, 0, false);
    }
    let end = image_of(runtime);
    let mut step = 0;
    while step < MAX_STEPS {
        match walk.step(words, layout, end) {
            Step::Went => step += 1,
            Step::Over => return stack_key::of_walk(walk.hash, u64::from(step), true),
            Step::Lost => break,
        }
    }
    stack_key::of_walk(walk.hash, u64::from(step), stack_key::will_do(walk.counted))
}

/// The same walk, which leaves its return addresses in this CPU's `WALKED`. Apart, for every call pays for the other.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_and_note(pc: u64, sp: u64, fp: u64, layout: u64, runtime: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let (Some(walked), Some(words)) = (WALKED.get_ptr_mut(0), WINDOW.get_ptr(0)) else {
        return 0;
    };
    // SAFETY: a valid map element of plain numbers. On the stack it would be too much: before 6.13 the frames of a hook
    // and of what it calls share 512 bytes.
    let walked = unsafe { &mut *walked };
    walked.walk = Walk::at(pc, sp, fp);
    walked.layout = layout;
    (walked.image, walked.image_length) = image_of(runtime);
    if walked.walk.begin() {
        repeat(MAX_STEPS, &mut Noting { walked, words });
    }
    0
}

/// A walk that leaves its return addresses, and its own state: only numbers, for another task may get this CPU
/// meanwhile and write them.
#[repr(C)]
pub struct Walked {
    walk: Walk,
    layout: u64,
    image: u64,
    image_length: u64,
    pub addresses: [u64; MAX_STEPS as usize],
}

struct Noting<'w> {
    walked: &'w mut Walked,
    words: *const Words,
}

impl Turn for Noting<'_> {
    #[inline(always)]
    fn turn(&mut self, number: u32) -> bool {
        let walked = &mut *self.walked;
        let end = (walked.image, walked.image_length);
        let step = walked.walk.step(self.words, walked.layout, end);
        // MAX_STEPS is a power of two.
        walked.addresses[(number & (MAX_STEPS - 1)) as usize] = walked.walk.address;
        !matches!(step, Step::Went)
    }
}

/// Reads a piece of the user's stack into this CPU's `WINDOW`. Returns how many bytes of it are there; none where a page is not
/// in memory: the whole read fails then (mm/maccess.c:copy_from_user_nofault). The next page may be one that the program
/// has never written to, as of a large buffer of which the beginning is used: it is left zero, which is what it
/// holds. So is one that was swapped out: a return address of 0 ends the walk.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn fill_window(at: u64) -> u64 {
    let Some(words) = WINDOW.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: the destination has that size; the helper checks the source, and clears the
    // destination when it fails, so it is never left as it was.
    let read = |length: u64| unsafe {
        let length = hidden(length) & INSIDE;
        bpf_probe_read_user(words.cast(), length as u32, at as *const c_void) == 0
    };
    let left = PAGE as u64 - (at & (PAGE as u64 - 1));
    let length = left.clamp(LEAST, MOST);
    if read(length) || left < LEAST && read(left) {
        length
    } else {
        0
    }
}

enum Step {
    Went,
    /// The walk has come to its end.
    Over,
    /// Nothing tells how to go on.
    Lost,
}

/// Where a walk is.
#[repr(C)]
struct Walk {
    hash: u64,
    address: u64,
    cfa: u64,
    /// The frame pointer: its value, or where a frame that was left has saved it. Read only when a row wants it, for
    /// a read at a wrong place costs ten times one at a right place.
    fp: u64,
    fp_slot: u64,
    /// Frames that count (`stack_key::count`).
    counted: u64,
    /// Of which piece of user memory the words are, and how many bytes of it are there.
    window: u64,
    length: u64,
}

impl Walk {
    #[inline(always)]
    fn at(pc: u64, sp: u64, fp: u64) -> Self {
        Self {
            hash: stack_key::fold(0, pc),
            address: pc,
            cfa: sp,
            fp,
            fp_slot: forgotten(0, fp),
            counted: 0,
            window: 0,
            length: 0,
        }
    }

    #[inline(always)]
    fn begin(&mut self) -> bool {
        if self.cfa & 7 != 0 {
            return false;
        }
        self.fill(self.cfa)
    }

    #[inline(always)]
    fn fill(&mut self, at: u64) -> bool {
        self.window = at;
        self.length = fill_window(at);
        self.length != 0
    }

    /// The word at `slot`; moves the window there when it lies outside.
    #[inline(always)]
    fn read(&mut self, words: *const Words, slot: u64) -> Option<u64> {
        let mut offset = slot.wrapping_sub(self.window);
        if offset >= self.length {
            // The word below too: a frame pointer is mostly saved there, and wanted later if at all.
            if !self.fill(slot.wrapping_sub(8)) {
                return None;
            }
            offset = 8;
        }
        let words: *const u64 = words.cast();
        let place = (hidden(offset) & INSIDE) as usize >> 3;
        // SAFETY: inside of the words. Volatile, for they are filled elsewhere.
        Some(unsafe { words.add(place).read_volatile() })
    }

    /// Leaves one frame. `end` is the code, and its length, of the runtime whose own frames tell the rest.
    #[inline(always)]
    fn step(&mut self, words: *const Words, layout: u64, end: (u64, u64)) -> Step {
        if self.address.wrapping_sub(end.0) < end.1 {
            return Step::Over;
        }
        let rule = rule(self.address, layout);
        // Or the verifier would follow each number that has been counted by itself, through all other steps.
        self.counted = forgotten(stack_key::count(self.counted, rule), rule);
        let kind = rule >> KIND_SHIFT & 0xff;
        let below_own = rule >> C_LIBRARY_SHIFT & 1 != 0 && self.counted != 0;
        if stack_key::is_enough(self.counted) || kind == KIND_OUTERMOST || below_own {
            return Step::Over;
        }
        let base = if kind == KIND_SP {
            self.cfa
        } else if kind == KIND_FP {
            if self.fp_slot != 0 {
                let Some(saved) = self.read(words, self.fp_slot) else {
                    return Step::Lost;
                };
                self.fp = saved;
                self.fp_slot = forgotten(0, saved);
            }
            self.fp
        } else {
            return Step::Lost;
        };
        let next = base.wrapping_add(i64::from(rule as u32 as i32) as u64);
        // Callers lie above what they called.
        let size = next.wrapping_sub(self.cfa);
        if size.wrapping_sub(8) >= MAX_FRAME || next & 7 != 0 {
            return Step::Lost;
        }
        let Some(return_address) = self.read(words, next.wrapping_sub(8)) else {
            return Step::Lost;
        };
        let saved_fp = i64::from((rule >> FP_SHIFT) as u16 as i16) as u64;
        let is_saved = differ(saved_fp, 0).wrapping_neg();
        self.fp_slot = next.wrapping_add(saved_fp) & is_saved | self.fp_slot & !is_saved;
        self.address = return_address;
        self.cfa = next;
        self.hash = stack_key::fold(self.hash, return_address);
        Step::Went
    }
}
