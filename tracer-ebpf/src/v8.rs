//! Walks the frames of JavaScript below the current system call: from where V8 has called C++ last, by frame pointers, which
//! all of its own frames keep. What V8 entered from C++ on the way remembers where JavaScript was left before. User space
//! has learnt where all this is (`tracer_common::runtime`).
//!
//! JavaScript that is interrupted has left nowhere: then it is from the frame pointer on, which no code of V8 uses for
//! anything else. C++ does, so such a way is believed only where it comes to an entry from C++, and to the first of all.

use core::{ffi::c_void, mem::MaybeUninit};

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use tracer_common::{
    runtime::{
        Activation, KIND_V8, MANAGED_DEEPER, MANAGED_NONE, MANAGED_UNREAD, MANAGED_WHOLE,
        MAX_MANAGED, Runtime, v8,
    },
    stack_key,
};

use crate::{
    choice::{if_below, if_equal},
    globals as g,
    repeat::{Turn, repeat},
    runtime::{entry, is_first_thread, word},
};

/// From what an entry from C++ saves (`EntryFrameConstants` of `execution/x64/frame-constants-x64.h`) to the return address.
const WORDS: usize = 10;
const BYTES: u64 = (WORDS * 8) as u64;
const BELOW: u64 = 64;
const LEFT_BEFORE: usize = 0;
const OFFSET: usize = 3;
const CLOSURE: usize = 6;
const CONTEXT: usize = 7;
const CALLER: usize = 8;
const RETURN: usize = 9;
/// In place of the context, which is an object: an entry from C++, also of a constructor (`StackFrame::TypeToMarker`).
const ENTRY: u64 = 1 << 1;
const ENTRY_OF_CONSTRUCTOR: u64 = 2 << 1;
/// The interpreter calls each bytecode's code by `call rcx`, and first of all gets the function's bytecode again,
/// `mov r12, [rbp - 32]` (`Builtins::Generate_InterpreterEntryTrampoline` of `builtins/x64`).
const INTERPRETER: u64 = 0xe065_8b4c_d1ff;
const INTERPRETER_BYTES: u64 = (1 << 48) - 1;
const AFTER_CALL: u64 = 2;
/// As for Java: C++ does not take more below JavaScript.
const MAX_NATIVE: u64 = 64 << 20;
/// From a frame pointer down to the last word by which a frame tells its function.
const TOLD: u64 = 16;

pub type Window = [u64; WORDS];

/// What the thread with this stack pointer executes, as a part of its key, as `walk_managed` does.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn walk_v8(runtime: u64, sp: u64) -> u64 {
    if g::HAS_REGS.load() == 0 {
        return 0;
    }
    let mut window = MaybeUninit::<Window>::uninit();
    let mut hash = 0;
    let (found, _) = walk(runtime, sp, window.as_mut_ptr(), |_, one| {
        if one.code != 0 {
            hash = stack_key::fold_managed(hash, one.code, one.instruction);
        }
    });
    match found {
        MANAGED_WHOLE | MANAGED_DEEPER => hash,
        MANAGED_UNREAD => stack_key::UNREAD,
        _ => 0,
    }
}

/// A `MANAGED_*`, and how many frames `on_frame` was given, each with its number, innermost first.
#[inline(always)]
pub fn walk(
    runtime: u64,
    sp: u64,
    window: *mut Window,
    on_frame: impl FnMut(usize, Activation),
) -> (u32, u32) {
    let Some(of) = of_first_thread(runtime) else {
        return (MANAGED_NONE, 0);
    };
    let Some(fp) = word(of.state) else {
        return (MANAGED_UNREAD, 0);
    };
    if fp.wrapping_sub(sp) > MAX_NATIVE {
        return (MANAGED_NONE, 0);
    }
    let mut frames = Frames {
        of,
        window,
        fp,
        pc: 0,
        how: MANAGED_DEEPER,
        seen: 0,
        on_frame,
        moment: Called,
    };
    repeat(MAX_MANAGED as u32, &mut frames);
    (frames.how, frames.seen)
}

/// The same of a thread that was interrupted with these registers, and of so many frames.
#[inline(always)]
pub fn walk_interrupted(
    runtime: u64,
    (sp, fp): (u64, u64),
    most: u32,
    window: *mut Window,
    on_frame: impl FnMut(usize, Activation),
) -> (u32, u32) {
    let Some(of) = of_first_thread(runtime) else {
        return (MANAGED_NONE, 0);
    };
    let Some(left) = word(of.state) else {
        return (MANAGED_UNREAD, 0);
    };
    let fp = left | if_equal(left, 0, fp);
    if fp.wrapping_sub(sp) > MAX_NATIVE {
        return (MANAGED_NONE, 0);
    }
    let mut frames = Frames {
        of,
        window,
        fp,
        pc: 0,
        how: MANAGED_DEEPER,
        seen: 0,
        on_frame,
        moment: Interrupted {
            sp,
            entered: 0,
            functions: 0,
        },
    };
    repeat(most, &mut frames);
    let Interrupted {
        entered, functions, ..
    } = frames.moment;
    let is_of_javascript = match frames.how {
        MANAGED_WHOLE => entered != 0,
        _ => functions != 0,
    };
    let how = if is_of_javascript {
        frames.how
    } else {
        MANAGED_NONE
    };
    (how, frames.seen)
}

#[inline(always)]
fn of_first_thread<'r>(runtime: u64) -> Option<&'r Runtime> {
    // SAFETY: a valid map element.
    let of = unsafe { &*entry(runtime)? };
    (of.kind == KIND_V8 && is_first_thread()).then_some(of)
}

/// Where the walk is, and what it goes by.
struct Frames<'r, F, M> {
    of: &'r Runtime,
    window: *mut Window,
    fp: u64,
    /// Where in its code this frame goes on; 0 where nobody knows, in a frame of no function.
    pc: u64,
    /// A `MANAGED_*`: what is said when the last turn does not end it.
    how: u32,
    seen: u32,
    on_frame: F,
    moment: M,
}

/// At which moments the frames are as they are.
trait Moment {
    /// Whether frames may be met that V8 has not made, or not yet: they tell no function.
    const ANY: bool;
    /// All bits where what a frame tells lies on the stack already.
    fn is_told(&self, fp: u64) -> u64;
    /// A frame of this function, or 0, was left; `entry` where by that C++ has called.
    fn left(&mut self, function: u64, entry: u64);
}

/// A system call.
struct Called;

impl Moment for Called {
    const ANY: bool = false;

    #[inline(always)]
    fn is_told(&self, _: u64) -> u64 {
        u64::MAX
    }

    #[inline(always)]
    fn left(&mut self, _: u64, _: u64) {}
}

/// Between any two instructions.
struct Interrupted {
    sp: u64,
    /// The last frame that was left is an entry from C++.
    entered: u64,
    /// 0 where none was met.
    functions: u64,
}

impl Moment for Interrupted {
    const ANY: bool = true;

    #[inline(always)]
    fn is_told(&self, fp: u64) -> u64 {
        if_below(self.sp, fp.wrapping_sub(TOLD - 1))
    }

    #[inline(always)]
    fn left(&mut self, function: u64, entry: u64) {
        self.entered = entry;
        self.functions |= function;
    }
}

impl<F: FnMut(usize, Activation), M: Moment> Turn for Frames<'_, F, M> {
    #[inline(always)]
    fn turn(&mut self, number: u32) -> bool {
        let over = self.step(number);
        if let Some(how) = over {
            self.how = how;
        }
        over.is_some()
    }
}

impl<F: FnMut(usize, Activation), M: Moment> Frames<'_, F, M> {
    /// Leaves one frame; what the walk comes to where it ends.
    #[inline(always)]
    fn step(&mut self, number: u32) -> Option<u32> {
        let (fp, pc) = (self.fp, self.pc);
        if fp == 0 {
            return Some(MANAGED_WHOLE);
        }
        let from = fp.wrapping_sub(BELOW) as *const c_void;
        // SAFETY: the destination has that size; the helper checks the source.
        if unsafe { bpf_probe_read_user(self.window.cast(), BYTES as u32, from) } != 0 {
            return Some(MANAGED_UNREAD);
        }
        // SAFETY: filled.
        let words = unsafe { *self.window };
        let mut is_function = (words[CONTEXT] & 1).wrapping_neg();
        if M::ANY {
            is_function &= (words[CLOSURE] & 1).wrapping_neg() & self.moment.is_told(fp);
        }
        // Where there is none the stack is read: a read at a wrong place costs ten times one at a right place.
        let closure = words[CLOSURE] & is_function | fp & !is_function;
        let shared = peek(closure.wrapping_add(self.of.shared & is_function)) & is_function;
        let shared_or_stack = shared | fp.wrapping_add(8) & !is_function;
        let scope = peek(shared_or_stack.wrapping_add(self.of.scope & is_function));
        let after = pc | if_equal(pc, 0, fp);
        let code = peek(after.wrapping_sub(AFTER_CALL)) & INTERPRETER_BYTES;
        let offset = if_equal(code, INTERPRETER, words[OFFSET]);
        if M::ANY {
            is_function &= !if_equal(scope, 0, u64::MAX);
        }
        let one = Activation {
            code: shared & is_function,
            instruction: v8::frame(pc, offset, scope) & is_function,
        };
        let context = words[CONTEXT];
        let entry =
            if_equal(context, ENTRY, u64::MAX) | if_equal(context, ENTRY_OF_CONSTRUCTOR, u64::MAX);
        self.moment.left(one.code, entry);
        (self.on_frame)(number as usize, one);
        self.seen = number + 1;
        let next = words[LEFT_BEFORE] & entry | words[CALLER] & !entry;
        self.pc = words[RETURN] & !entry;
        self.fp = next;
        // Callers lie above what they called.
        let went = next.wrapping_sub(fp);
        let unread = scope == 0 && !M::ANY;
        let wrong = unread || next != 0 && went.wrapping_sub(8) >= MAX_NATIVE;
        wrong.then_some(MANAGED_UNREAD)
    }
}

/// 0 where it cannot be read: the helper leaves that.
#[inline(always)]
fn peek(at: u64) -> u64 {
    word(at).unwrap_or(0)
}
