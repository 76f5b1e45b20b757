//! Walks the frames of Java below the current system call: from where the thread has left Java, by the sizes
//! that unwind rows tell of compiled frames. Interpreted ones all look alike, and say where their callers are.
//! User space has learnt where HotSpot keeps this (`tracer_common::runtime`).

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::{
    runtime::{
        MANAGED_CUT, MANAGED_DEEPER, MANAGED_NONE, MANAGED_UNREAD, MANAGED_WHOLE,
        MAX_COMPILED_FRAME, MAX_MANAGED, Runtime, heap, java,
    },
    stack_key,
    unwind::{INTO_MASK, INTO_SHIFT, KIND_COMPILED, KIND_ON_HEAP, KIND_OUTERMOST, KIND_SHIFT},
};

use crate::{
    choice::{differ, forgotten, hidden, if_below},
    desk::Work,
    globals as g,
    heap::{extent_of_chunk, innermost_chunk, outer_chunk, word_of_chunk},
    repeat::{Turn, repeat},
    runtime::{entry, word},
    walk::rule,
};

/// From the last thing that an interpreted frame has below its frame pointer to the return address above it
/// (`frame_x86.hpp` has them so since 9).
const WORDS: usize = 10;
const BYTES: u64 = (WORDS * 8) as u64;
const BELOW: u64 = 64;
const BYTECODE: usize = 0;
const METHOD: usize = 5;
const SENDER_SP: usize = 7;
const SAVED_FP: usize = 8;
const RETURN: usize = 9;
/// Of the frame by which C code calls Java, from its frame pointer down: the record of that call.
const CALL_WRAPPER: u64 = 48;
/// What the outermost frame on the heap has of the one that lies on the stack.
const BOTTOM_BYTES: u64 = 16;
/// Frames on the heap are walked. Without the helper for loops the verifier would follow ten times as many instructions for it.
const WALKS_HEAP: bool = cfg!(feature = "helper-loops");
/// Native code below a method does not take more; what a thread without Java has at that place is something else.
const MAX_NATIVE: u64 = 64 << 20;

type Window = [u64; WORDS];

/// What the thread with this thread pointer and stack pointer executes, as a part of its key, as `walk_managed` does.
/// All frames are left for a copy.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_java(runtime: u64, thread: u64, sp: u64, layout: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let Some(work) = Work::begin() else {
        return 0;
    };
    let (how, hash) = walk(runtime, thread, sp, layout, work);
    // What it went by lay there.
    if !work.is_mine() {
        return stack_key::UNREAD;
    }
    match how {
        MANAGED_WHOLE | MANAGED_DEEPER => hash,
        MANAGED_UNREAD | MANAGED_CUT => stack_key::UNREAD,
        _ => 0,
    }
}

/// The packed unwind rule of compiled code, checked by the verifier once.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn compiled_rule(address: u64, layout: u64) -> u64 {
    rule(address, layout)
}

/// A `MANAGED_*`, and the hash of all frames. They are left innermost first; without code where C code has called Java.
#[inline(always)]
fn walk(runtime: u64, thread: u64, top: u64, layout: u64, work: Work) -> (u32, u64) {
    work.end(MANAGED_NONE, 0);
    let Some(of) = entry(runtime) else {
        return (MANAGED_NONE, 0);
    };
    // SAFETY: a valid map element.
    let of = unsafe { &*of };
    let state = word(thread.wrapping_add(of.state));
    if state == Some(0) {
        return (MANAGED_NONE, 0);
    }
    work.end(MANAGED_UNREAD, 0);
    let Some(state) = state else {
        return (MANAGED_UNREAD, 0);
    };
    let Some([sp, pc, fp]) = left_java(state.wrapping_add(of.anchor), work.room()) else {
        return (MANAGED_UNREAD, 0);
    };
    if sp.wrapping_sub(top) > MAX_NATIVE {
        work.end(MANAGED_NONE, 0);
        return (MANAGED_NONE, 0);
    }
    work.came_from([pc, sp, fp]);
    let Some(epoch) = word(of.epoch) else {
        return (MANAGED_UNREAD, 0);
    };
    let mut frames = Frames {
        of,
        runtime,
        state,
        layout,
        epoch,
        work,
        // Numbers of which the verifier knows no more than of those that later turns have.
        at: [forgotten(sp, of.state), forgotten(pc, of.state), fp],
        // Nothing, of which the verifier does not know that: a number would make two loops of one.
        end: of.stride,
        outer: of.stride,
        // What is said when the last turn does not end it.
        how: MANAGED_DEEPER,
        seen: 0,
        hash: forgotten(0, sp),
    };
    repeat(MAX_MANAGED as u32, &mut frames);
    work.end(frames.how, frames.seen);
    (frames.how, frames.hash)
}

/// Where the walk is, and what it goes by.
struct Frames<'r> {
    of: &'r Runtime,
    runtime: u64,
    /// Of the thread.
    state: u64,
    layout: u64,
    epoch: u64,
    work: Work,
    /// Stack pointer, code address and frame pointer.
    at: [u64; 3],
    /// Of the object on the heap in which the frame lies; 0 on the stack.
    end: u64,
    /// The object with the frames further out; 0 where there is none.
    outer: u64,
    /// A `MANAGED_*`.
    how: u32,
    seen: u32,
    /// Of all frames of methods.
    hash: u64,
}

impl Turn for Frames<'_> {
    #[inline(always)]
    fn turn(&mut self, number: u32) -> bool {
        let over = self.step(number as usize & (MAX_MANAGED - 1));
        if let Some(how) = over {
            self.how = forgotten(u64::from(how), self.state) as u32;
        }
        over.is_some()
    }
}

impl Frames<'_> {
    #[inline(always)]
    fn leave(&mut self, number: usize, code: u64, instruction: u64) {
        self.work.leave(number, code, instruction);
        if code != 0 {
            self.hash = stack_key::fold_managed(self.hash, code, instruction);
        }
    }

    /// Leaves one frame; what the walk comes to where it ends.
    #[inline(always)]
    fn step(&mut self, number: usize) -> Option<u32> {
        let of = self.of;
        let window: *mut Window = self.work.room();
        let [sp, pc, fp] = self.at;
        // By themselves: the compiler sets a structure to zero by a call that does so byte by byte.
        let (mut code, mut instruction) = (0, 0);
        // Of a frame on the heap what refers to one is a distance in words.
        let on_heap = if WALKS_HEAP { differ(self.end, 0) } else { 0 };
        let is_over = !if_below(sp.wrapping_add(BOTTOM_BYTES), self.end);
        if WALKS_HEAP && on_heap & is_over != 0 {
            return self.enter(number);
        }
        let refers = |from: u64, word: u64| {
            if !WALKS_HEAP {
                return word;
            }
            // A bit and no mask: of one that is all or nothing the verifier of some kernels follows both. Made here, for
            // kept it takes up the stack.
            let on_heap = hidden(on_heap);
            (word << (on_heap << 1 | on_heap)).wrapping_add(from & on_heap.wrapping_neg())
        };
        if pc == of.call_stub {
            let Some(wrapper) = word(fp.wrapping_sub(CALL_WRAPPER)) else {
                return Some(MANAGED_UNREAD);
            };
            let anchor = wrapper.wrapping_add(of.wrapper_anchor);
            let Some(outer) = left_java(anchor, window) else {
                return Some(MANAGED_UNREAD);
            };
            if outer[0] == 0 {
                return Some(MANAGED_WHOLE);
            }
            self.at = outer;
        } else if pc.wrapping_sub(of.interpreter) < of.interpreter_length {
            if !fill(window, fp.wrapping_sub(BELOW), BYTES) {
                return Some(MANAGED_UNREAD);
            }
            // SAFETY: filled.
            let words = unsafe { &*window };
            code = words[METHOD];
            instruction = java::interpreted(words[BYTECODE], self.epoch);
            self.at = [
                refers(fp, words[SENDER_SP]),
                words[RETURN],
                refers(fp, words[SAVED_FP]),
            ];
        } else {
            let rule = compiled_rule(pc, self.layout);
            let size = rule & (MAX_COMPILED_FRAME - 1);
            let into = rule >> INTO_SHIFT & INTO_MASK;
            let kind = rule >> KIND_SHIFT & 0xff;
            if kind == KIND_OUTERMOST {
                return Some(MANAGED_DEEPER);
            }
            if kind == KIND_ON_HEAP {
                if size == 0 {
                    return Some(MANAGED_WHOLE);
                }
                let chunk = if WALKS_HEAP {
                    innermost_chunk(self.runtime, self.state + size)
                } else {
                    0
                };
                if chunk == 0 {
                    return Some(MANAGED_CUT);
                }
                // The next turn enters it, as it does where frames in another one end. A number that the verifier knows
                // would make two loops of one.
                self.outer = chunk;
                self.end |= 1;
                return self.none(number);
            }
            if kind != KIND_COMPILED {
                return Some(self.cut(number));
            }
            // Code of the machine itself stays.
            let compilation = if into == 0 {
                0
            } else {
                let at = pc.wrapping_sub(into).wrapping_add(of.compile_id);
                let Some(compilation) = word(at) else {
                    return Some(MANAGED_UNREAD);
                };
                compilation as u32
            };
            code = pc;
            instruction = java::compiled(size, compilation);
            let caller = sp.wrapping_add(size);
            if !fill(window, caller.wrapping_sub(16), 16) {
                return Some(MANAGED_UNREAD);
            }
            // SAFETY: two words of it are filled.
            let words = unsafe { &*window };
            self.at = [caller, words[1], refers(caller.wrapping_sub(16), words[0])];
        }
        self.leave(number, code, instruction);
        self.seen = number as u32 + 1;
        // Callers lie above what they called.
        let went = self.at[0].wrapping_sub(sp);
        (went.wrapping_sub(8) >= MAX_NATIVE).then_some(MANAGED_UNREAD)
    }

    /// Ends here, and says where that is among frames on the heap: they are in no copy.
    #[inline(always)]
    fn cut(&mut self, number: usize) -> u32 {
        const WORDS: usize = 3;
        if WALKS_HEAP && self.end != 0 && number + WORDS <= MAX_MANAGED {
            let [sp, pc, fp] = self.at;
            for (place, instruction) in [pc, sp, fp].into_iter().enumerate() {
                self.leave(number + place, 0, instruction);
            }
            self.seen = (number + WORDS) as u32;
        }
        MANAGED_CUT
    }

    /// Goes on with the frames in the outer object, if there is one.
    #[inline(always)]
    fn enter(&mut self, number: usize) -> Option<u32> {
        let chunk = self.outer;
        if chunk == 0 {
            return Some(MANAGED_WHOLE);
        }
        let extent = extent_of_chunk(self.runtime, chunk);
        if extent == 0 {
            return Some(MANAGED_CUT);
        }
        let words = chunk.wrapping_add(heap::place(self.of.heap, heap::WORDS));
        let sp = words.wrapping_add((extent & u64::from(u32::MAX)) << 3);
        let below = sp.wrapping_sub(16);
        let fp = below.wrapping_add(word_of_chunk(below) << 3);
        self.at = [sp, word_of_chunk(sp.wrapping_sub(8)), fp];
        self.end = words.wrapping_add(extent >> 32 << 3);
        self.outer = outer_chunk(self.runtime, chunk);
        self.none(number)
    }

    /// No frame in this turn, and the walk goes on.
    #[inline(always)]
    fn none(&mut self, number: usize) -> Option<u32> {
        self.leave(number, 0, 0);
        self.seen = number as u32 + 1;
        None
    }
}

/// Stack pointer, code address and frame pointer of an anchor: all 0 when nothing has been left.
#[inline(always)]
fn left_java(anchor: u64, window: *mut Window) -> Option<[u64; 3]> {
    if !fill(window, anchor, 24) {
        return None;
    }
    // SAFETY: three words of it are filled.
    let [sp, mut pc, fp] = unsafe { [(*window)[0], (*window)[1], (*window)[2]] };
    if sp != 0 && pc == 0 {
        pc = word(sp.wrapping_sub(8))?;
    }
    Some([sp, pc, fp])
}

/// The first `bytes` of the window, which are a constant to the verifier.
#[inline(always)]
fn fill(window: *mut Window, from: u64, bytes: u64) -> bool {
    // SAFETY: the destination is not smaller; the helper checks the source.
    unsafe { bpf_probe_read_user(window.cast(), bytes as u32, from as *const c_void) == 0 }
}
