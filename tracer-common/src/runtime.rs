//! How the kernel program walks the frames that a language runtime keeps itself, or finds the goroutine that runs: an
//! array in the kernel, found by the layout of the address space. User space learns the offsets from the runtime's
//! own structures; they steer reads of the current process only, so nothing has to be trusted.
//!
//! Only user space writes. An entry is filled while its tag is 0.

use crate::wire;

pub const PLACES: u32 = 512;
/// Frames of a runtime that a key takes in at most.
pub const MAX_MANAGED: usize = 32;
/// And of a thread that runs and is sampled: functions are told only where the outermost is known.
pub const MAX_SAMPLED: usize = 128;
/// More than the largest piece of a frame that is read.
pub const MAX_FRAME_BYTES: u64 = 128;
/// Of one frame of compiled code; what is not below is an address.
pub const MAX_COMPILED_FRAME: u64 = 1 << 20;
/// No such step.
pub const NOWHERE: u64 = u64::MAX;

/// An interpreter that keeps frames of its own, which are walked: CPython, Ruby.
pub const KIND_INTERPRETER: u64 = 0;
/// Go: `state` leads to the `g` that runs, which has its id at `frame`; nothing else is told.
pub const KIND_GO: u64 = 1;
/// HotSpot, of which frames are walked.
pub const KIND_HOTSPOT: u64 = 2;
/// An interpreter that runs in the first thread only: `state` is where the program has the pointer to its innermost frame (PHP).
pub const KIND_ONE_THREAD: u64 = 3;
/// V8 in the first thread: `state` is where it notes the frame of C++ that JavaScript has called last (Node.js).
pub const KIND_V8: u64 = 4;

wire! {
    /// Where a runtime keeps what a thread executes. Places within a frame of an interpreter are counted in bits.
    pub struct Runtime {
        /// The layout; 0 is free.
        pub tag: u64,
        /// One of `KIND_*`.
        pub kind: u64,
        /// The interpreter's own code, or what the runtime has compiled: what it calls lies further in.
        pub image: u64,
        pub image_length: u64,
        /// From the thread pointer to the place of the pointer to the thread's state.
        pub state: u64,
        /// Interpreters: from there to the pointer to the innermost frame, or to something that has it at `frame_again`.
        pub frame: u64,
        pub frame_again: u64,
        /// Bytes of a frame to read.
        pub frame_bytes: u64,
        /// In a frame the pointer to its caller's, where `stride` is 0.
        pub previous: u64,
        pub code: u64,
        pub instruction: u64,
        pub instruction_mask: u64,
        /// A number that is [`NO_FUNCTION`] and more in frames that run no function; mask 0 where there is none.
        pub owner: u64,
        pub owner_mask: u64,
        /// HotSpot: from the state to stack pointer, code address and frame pointer with which the thread left Java.
        pub anchor: u64,
        pub interpreter: u64,
        pub interpreter_length: u64,
        /// Where Java returns to C code that called it.
        pub call_stub: u64,
        /// From the record of such a call to where the thread had left Java before.
        pub wrapper_anchor: u64,
        /// A number that is another one as soon as a class is unloaded.
        pub epoch: u64,
        /// From the start of the description of compiled code to its number, which no other code gets.
        pub compile_id: u64,
        /// Size of a frame where they are an array, callers above what they have called (Ruby).
        pub stride: u64,
        /// From the state to start and length in words of the memory at whose end the outermost of them is.
        pub values: u64,
        /// Bits of the first word of a function of which one is set where it has instructions of its own, and these tell
        /// which it is: several objects may stand for one function. 0 where all have (PHP).
        pub has_instructions: u64,
        /// V8: from a closure to what all closures of its function share, and from there to its description.
        pub shared: u64,
        pub scope: u64,
        /// HotSpot: how frames of virtual threads are found on the heap; 0 where they are not read. See [`heap`].
        pub heap: u64,
        /// What a reference on the heap is counted from.
        pub heap_base: u64,
        /// What an object says that holds such frames, in these bits of the word at `heap::CLASS`.
        pub chunk: u64,
        pub chunk_mask: u64,
        /// A byte that is not 0 while the collector moves objects.
        pub collecting: u64,
        /// From the state of a thread to references to itself and to whom it executes, and from there to the id; 0 where
        /// virtual threads are not known. See [`crate::made_by::mounted`].
        pub mounted: u64,
    }
}

impl Runtime {
    /// Says nothing.
    pub const BLANK: Self = Self {
        tag: 0,
        kind: KIND_INTERPRETER,
        image: 0,
        image_length: 0,
        state: 0,
        frame: 0,
        frame_again: NOWHERE,
        frame_bytes: 0,
        previous: 0,
        code: 0,
        instruction: 0,
        instruction_mask: 0,
        owner: 0,
        owner_mask: 0,
        anchor: 0,
        interpreter: 0,
        interpreter_length: 0,
        call_stub: 0,
        wrapper_anchor: 0,
        epoch: 0,
        compile_id: 0,
        stride: 0,
        values: 0,
        has_instructions: 0,
        shared: 0,
        scope: 0,
        heap: 0,
        heap_base: 0,
        chunk: 0,
        chunk_mask: 0,
        collecting: 0,
        mounted: 0,
    };
}

/// Owners from here on only mark where C code has called the interpreter.
pub const NO_FUNCTION: u64 = 3;
/// Instructions with all of these bits tell the function they belong to, whichever object stands for it.
pub const ALONE: u64 = 3 << 62;
/// References on a stack carry a tag in these bits (CPython since 3.14).
pub const REFERENCE_TAG: u64 = 7;

wire! {
    /// A function of a runtime that is being executed, and where: raw words of the process.
    pub struct Activation {
        /// 0 where a frame runs no function. In compiled code of Java the address to return to.
        pub code: u64,
        /// Of Java see [`java`], of JavaScript [`v8`].
        pub instruction: u64,
    }
}

/// What tells frames of Java apart, also from those of code that takes their place later.
pub mod java {
    use super::MAX_COMPILED_FRAME;

    const COMPILED: u64 = 1 << 63;
    /// Native methods have no bytecode.
    pub const NATIVE: u64 = 1 << 47;
    const ID_SHIFT: u32 = 20;
    const EPOCH_SHIFT: u32 = 48;
    const EPOCH_MASK: u64 = 0x7fff << EPOCH_SHIFT;

    /// Of compiled code: the size of its frame and its number.
    #[inline(always)]
    pub const fn compiled(size: u64, id: u32) -> u64 {
        COMPILED | (id as u64) << ID_SHIFT | size & (MAX_COMPILED_FRAME - 1)
    }

    /// Of a method that is interpreted: the address of its bytecode, and how many classes were unloaded until then.
    #[inline(always)]
    pub const fn interpreted(bytecode: u64, epoch: u64) -> u64 {
        let at = if bytecode < MAX_COMPILED_FRAME || bytecode == NATIVE {
            NATIVE
        } else {
            bytecode & (NATIVE - 1)
        };
        at | epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 & EPOCH_MASK
    }

    #[inline(always)]
    pub const fn is_compiled(instruction: u64) -> bool {
        instruction & COMPILED != 0
    }

    /// What [`interpreted`] was made of first.
    #[inline(always)]
    pub const fn bytecode(instruction: u64) -> u64 {
        instruction & !(COMPILED | EPOCH_MASK)
    }
}

/// The frames that virtual threads of Java have on the heap, in objects of a class of their own: places in these and in the
/// object that stands for the thread's stack, packed into one word.
pub mod heap {
    const BITS: u32 = 8;
    /// In the object of a stack: the innermost of the objects with frames.
    pub const TAIL: u32 = 0;
    /// In an object with frames: what says its class.
    pub const CLASS: u32 = 1;
    /// The object with the frames further out.
    pub const PARENT: u32 = 2;
    /// Where its frames begin and end, in words of four bytes that count words of eight.
    pub const SP: u32 = 3;
    pub const BOTTOM: u32 = 4;
    /// From where these count.
    pub const WORDS: u32 = 5;
    /// How far a reference is shifted, and how many bits of the word at its place are not of it.
    pub const SHIFT: u32 = 6;
    pub const UNUSED: u32 = 7;

    /// In the order of the constants. `None` where one of them is too large.
    pub fn pack(places: [u64; 8]) -> Option<u64> {
        let bytes = places.map(|place| u8::try_from(place).ok());
        let mut packed = 0;
        for byte in bytes.into_iter().rev() {
            packed = packed << BITS | u64::from(byte?);
        }
        Some(packed)
    }

    #[inline(always)]
    pub const fn place(packed: u64, of: u32) -> u64 {
        packed >> (of * BITS) & ((1 << BITS) - 1)
    }

    /// The address that the word at the place of a reference stands for; 0 of none.
    #[inline(always)]
    pub const fn address(packed: u64, base: u64, word: u64) -> u64 {
        // Shifts of 64 and more mean nothing.
        let reference = word & (u64::MAX >> (place(packed, UNUSED) & 63));
        if reference == 0 {
            return 0;
        }
        base.wrapping_add(reference << (place(packed, SHIFT) & 63))
    }
}

/// What tells frames of JavaScript apart: where the function is, and by which description that was known then. Objects move;
/// another one in its place has another description.
pub mod v8 {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    const PLACE_BITS: u32 = 32;
    /// The two bits above would tell the function (`ALONE`).
    const DESCRIPTION: u64 = 0x3fff_ffff << PLACE_BITS;

    /// `pc` is the return address, which interpreted functions share; `offset` of their bytecode is 0 for others.
    #[inline(always)]
    pub const fn place(pc: u64, offset: u64) -> u64 {
        pc ^ offset.rotate_left(17)
    }

    /// That place in the function of this description.
    #[inline(always)]
    pub const fn at(place: u64, description: u64) -> u64 {
        place.wrapping_mul(MULTIPLIER) >> PLACE_BITS | described(description)
    }

    /// The part that the description makes, which is an address.
    #[inline(always)]
    const fn described(description: u64) -> u64 {
        description.wrapping_mul(MULTIPLIER) >> 2 & DESCRIPTION
    }

    /// Whether the function was known by this description.
    pub const fn is_of(instruction: u64, description: u64) -> bool {
        instruction & DESCRIPTION == described(description)
    }
}

/// Nobody has told yet whether the process has a runtime.
pub const MANAGED_UNKNOWN: u32 = 0;
/// The thread executes nothing of the runtime.
pub const MANAGED_NONE: u32 = 1;
/// All frames, to the outermost.
pub const MANAGED_WHOLE: u32 = 2;
/// As many as a key takes in; there are more.
pub const MANAGED_DEEPER: u32 = 3;
/// A frame could not be read.
pub const MANAGED_UNREAD: u32 = 4;
/// Compiled code was met of which no unwind row tells the size of its frame.
pub const MANAGED_CUT: u32 = 5;

/// The two places where the runtime of a layout may be.
#[inline(always)]
pub const fn places_of(layout: u64) -> [u32; 2] {
    let place = (layout.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32 & (PLACES - 1);
    [place, place ^ 1]
}

const _: () = {
    assert!(size_of::<Runtime>() == 256);
    assert!(PLACES.is_power_of_two());
    assert!(MAX_MANAGED.is_power_of_two() && MAX_SAMPLED.is_power_of_two());
};

#[cfg(test)]
mod tests {
    use super::{ALONE, heap, java, v8};

    #[test]
    fn frames_of_javascript_say_where_and_of_which_function() {
        let frame = |pc, offset, description| v8::at(v8::place(pc, offset), description);
        let (one, other) = (0x2464_6f01_a931, 0x2464_6f01_a971);
        let known = frame(0x169_5cd0, 0x9d << 32, one);
        assert!(v8::is_of(known, one) && !v8::is_of(known, other));
        for differs in [
            frame(0x169_5cd0, 0x9e << 32, one),
            frame(0x169_5cd1, 0x9d << 32, one),
            frame(0x169_5cd0, 0x9d << 32, other),
        ] {
            assert_ne!(known, differs);
        }
        assert_ne!(frame(u64::MAX, u64::MAX, u64::MAX) & ALONE, ALONE);
    }

    #[test]
    fn places_on_the_heap_are_kept_in_one_word() {
        let places = [32, 8, 40, 24, 28, 48, 3, 32];
        let packed = heap::pack(places).unwrap();
        let kept = [
            heap::TAIL,
            heap::CLASS,
            heap::PARENT,
            heap::SP,
            heap::BOTTOM,
            heap::WORDS,
            heap::SHIFT,
            heap::UNUSED,
        ];
        assert_eq!(kept.map(|of| heap::place(packed, of)), places);
        assert_eq!(heap::pack([0, 0, 0, 0, 0, 256, 0, 0]), None);
        let word = 0xdead_beef_0000_0011;
        assert_eq!(heap::address(packed, 0x1000, word), 0x1088);
        assert_eq!(heap::address(packed, 0x1000, 1 << 32), 0);
        let wide = heap::pack([0; 8]).unwrap();
        assert_eq!(heap::address(wide, 0, word), word);
    }

    #[test]
    fn frames_of_java_say_what_they_are() {
        let compiled = java::compiled(96, 77);
        assert!(java::is_compiled(compiled));
        assert_ne!(compiled, java::compiled(96, 78));
        assert_ne!(compiled, java::compiled(112, 77));
        for bytecode in [0x7f00_1234_5678, 0, java::NATIVE] {
            let then = java::interpreted(bytecode, 5);
            assert!(!java::is_compiled(then));
            assert_eq!(java::interpreted(java::bytecode(then), 5), then);
            assert_ne!(java::interpreted(java::bytecode(then), 6), then);
        }
    }
}
