//! Walks a user stack by the unwind rows and folds every return address on the way into a hash.
//!
//! Exact: the row of a code address says where its caller's return address lies, so each address is
//! read at its own place and decides where the next one is. Nothing is guessed: where a row is
//! missing the walk ends, and the key says so. The rows and what they mean: `tracer_common::unwind`.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::{
    stack_key::{self, MAX_COUNTED, MAX_STEPS},
    unwind::{
        self, C_LIBRARY_SHIFT, FP_SHIFT, KIND_FP, KIND_OUTERMOST, KIND_SHIFT, KIND_SP, OWN_SHIFT,
    },
};

use crate::{
    choice::if_equal,
    globals as g,
    maps::{ROWS, WALKED},
    runtime::image_of,
};

/// Words read at once: a larger read costs little more, and another one as much as all the rest of some steps. Before
/// 6.13 the frames of a hook and of what it calls share 512 bytes of stack.
const WORDS: usize = 30;
const BYTES: u64 = (WORDS * 8) as u64;
/// No frame is larger: beyond is a damaged stack or a row that does not belong to it.
const MAX_FRAME: u64 = 1 << 20;

pub type Words = [u64; WORDS];

/// A piece of user memory. The words lie apart from what is known of them: together the compiler sets all to zero
/// first, byte by byte, which took as long as reading them.
struct Window {
    words: *mut Words,
    at: u64,
}

impl Window {
    /// Fails where a page is not in memory; the whole read fails then (mm/maccess.c:copy_from_user_nofault).
    #[inline(always)]
    fn fill(&mut self, at: u64) -> bool {
        self.at = at;
        // SAFETY: the destination has that size; the helper checks the source, and clears the
        // destination when it fails, so it is never left as it was.
        unsafe { bpf_probe_read_user(self.words.cast(), BYTES as u32, at as *const c_void) == 0 }
    }

    /// The word at `slot`; moves the window there when it lies outside.
    #[inline(always)]
    fn read(&mut self, slot: u64) -> Option<u64> {
        let mut offset = slot.wrapping_sub(self.at);
        if offset > BYTES - 8 {
            // The word below too: a frame pointer is mostly saved there, and wanted later if at all.
            if !self.fill(slot.wrapping_sub(8)) {
                return None;
            }
            offset = 8;
        }
        let words: *const u64 = self.words.cast();
        // SAFETY: filled, and the offset is below BYTES.
        Some(unsafe { *words.add((offset >> 3) as usize) })
    }
}

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
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_stack(pc: u64, sp: u64, fp: u64, layout: u64, runtime: u64) -> u64 {
    let mut words = MaybeUninit::<Words>::uninit();
    walk(words.as_mut_ptr(), (pc, sp, fp), layout, runtime, |_, _| {})
}

/// The same walk, which leaves its return addresses in this CPU's `WALKED`. Apart, for every call pays for the other.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_and_note(pc: u64, sp: u64, fp: u64, layout: u64, runtime: u64) -> u64 {
    let Some(walked) = WALKED.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a valid map element of plain numbers. On the stack it would be too much: before 6.13 the frames of a hook
    // and of what it calls share 512 bytes.
    let words = unsafe { &raw mut (*walked).words };
    walk(words, (pc, sp, fp), layout, runtime, |step, address| {
        // SAFETY: as above, and the index is below MAX_STEPS, a power of two.
        unsafe { (*walked).addresses[(step & (MAX_STEPS - 1)) as usize] = address };
    });
    0
}

#[inline(always)]
fn walk(
    words: *mut Words,
    (pc, sp, fp): (u64, u64, u64),
    layout: u64,
    runtime: u64,
    mut on_step: impl FnMut(u32, u64),
) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let mut hash = stack_key::fold(0, pc);
    let mut window = Window { words, at: 0 };
    if sp & 7 != 0 || !window.fill(sp) {
        return stack_key::of_walk(hash, 0, false);
    }
    let (mut address, mut cfa) = (pc, sp);
    // The frame pointer: its value, or where a frame that was left has saved it. Read only when a row
    // wants it, for a read at a wrong place costs ten times one at a right place.
    let (mut fp, mut fp_slot) = (fp, 0);
    let (mut counted, mut step) = (0, 0);
    let (image, image_length) = image_of(runtime);
    while step < MAX_STEPS {
        if address.wrapping_sub(image) < image_length {
            return stack_key::of_walk(hash, u64::from(step), true);
        }
        let rule = rule(address, layout);
        let own = rule >> OWN_SHIFT & 1;
        counted += own;
        let kind = rule >> KIND_SHIFT & 0xff;
        let below_own = rule >> C_LIBRARY_SHIFT & 1 != 0 && counted != 0;
        if counted >= MAX_COUNTED || kind == KIND_OUTERMOST || below_own {
            return stack_key::of_walk(hash, u64::from(step), true);
        }
        let base = if kind == KIND_SP {
            cfa
        } else if kind == KIND_FP {
            if fp_slot != 0 {
                let Some(saved) = window.read(fp_slot) else {
                    break;
                };
                fp = saved;
                fp_slot = 0;
            }
            fp
        } else {
            break;
        };
        let next = base.wrapping_add(i64::from(rule as u32 as i32) as u64);
        // Callers lie above what they called.
        let size = next.wrapping_sub(cfa);
        if size.wrapping_sub(8) >= MAX_FRAME || next & 7 != 0 {
            break;
        }
        let Some(return_address) = window.read(next.wrapping_sub(8)) else {
            break;
        };
        let saved_fp = i64::from((rule >> FP_SHIFT) as u16 as i16);
        if saved_fp != 0 {
            fp_slot = next.wrapping_add(saved_fp as u64);
        }
        address = return_address;
        cfa = next;
        hash = stack_key::fold(hash, address);
        on_step(step, address);
        step += 1;
    }
    stack_key::of_walk(hash, u64::from(step), false)
}
