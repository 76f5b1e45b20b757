//! The unwind rows: how to leave the frame at one code address. User space computes them from the
//! programs' own tables, the kernel program walks stacks with them. A set-associative array: a set is
//! one cache line, found by a mix of the code address and the *layout* of the address space.
//!
//! Only user space writes. An entry is filled while its tag is 0, and reused only after its tag has
//! been 0 for longer than any walk takes, so a tag that is met belongs to the rule beside it.

use crate::wire;

/// Room for some hundred processes a second of a test suite: each has its code at addresses of its own.
pub const ROW_SETS: u32 = 16384;
pub const ROWS_PER_SET: usize = 4;

wire! {
    pub struct Row {
        /// Code address and layout; 0 is free.
        pub tag: u64,
        /// A [`Rule`].
        pub rule: u64,
    }
}

wire! {
    pub struct RowSet {
        pub rows: [Row; ROWS_PER_SET],
    }
}

/// Which address space a code address is of. A forked child has its parent's, so workers share rows.
#[inline(always)]
pub const fn layout(start_stack: u64, start_code: u64, executable: u64) -> u64 {
    start_stack.wrapping_mul(0xff51_afd7_ed55_8ccd)
        ^ start_code.wrapping_mul(0xc4ce_b9fe_1a85_ec53)
        ^ executable.wrapping_mul(0xa076_1d64_78bd_642f)
}

#[inline(always)]
pub const fn tag(address: u64, layout: u64) -> u64 {
    (address ^ layout).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline(always)]
pub const fn set_of(tag: u64) -> u32 {
    (tag >> (64 - ROW_SETS.trailing_zeros())) as u32
}

/// Where the frame's canonical address (CFA) is; the return address is the word below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// So far above the stack pointer.
    AboveSp(i32),
    /// So far above the frame pointer.
    AboveFp(i32),
    /// Nothing called this code.
    Outermost,
    /// The tables say nothing that can be followed here.
    Undescribed,
    /// Code that HotSpot has compiled: the frame's size, and how far before this address the description of the code
    /// begins.
    Compiled { size: u32, into: u32 },
    /// Where a virtual thread of Java returns to frames that it has on the heap: so far from the state of the thread that
    /// carries it is what leads there. 0 where the virtual thread has none further out.
    OnHeap { entry: u32 },
}

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of a person who works on the application: it counts.
    Own,
    /// Of a package that the program was built with, or a library that the system keeps for all: walked through, and it
    /// counts where nothing of the application's own is further out.
    Package,
    /// A known library's or a runtime's: walked through.
    Library,
    /// The C library's: walked through, and above own code the end, for it calls what it is given.
    CLibrary,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub frame: Frame,
    pub whose: Whose,
    /// Where the caller's frame pointer is saved, from the CFA; 0 when it is still in the register.
    pub saved_fp: i16,
}

pub const KIND_SP: u64 = 1;
pub const KIND_FP: u64 = 2;
pub const KIND_OUTERMOST: u64 = 3;
const KIND_UNDESCRIBED: u64 = 4;
pub const KIND_COMPILED: u64 = 5;
pub const KIND_ON_HEAP: u64 = 6;
/// Of rules of compiled code: where the second number is, above the size.
pub const INTO_SHIFT: u32 = 20;
pub const INTO_MASK: u64 = (1 << 28) - 1;
/// Bits of a packed rule: offset 0-31, saved frame pointer 32-47, kind 48-55, and these.
pub const FP_SHIFT: u32 = 32;
pub const KIND_SHIFT: u32 = 48;
pub const OWN_SHIFT: u32 = 56;
pub const C_LIBRARY_SHIFT: u32 = 57;
pub const PACKAGE_SHIFT: u32 = 58;

impl Rule {
    pub const UNDESCRIBED: Self = Self {
        frame: Frame::Undescribed,
        whose: Whose::Library,
        saved_fp: 0,
    };

    pub const fn pack(self) -> u64 {
        let (kind, offset) = match self.frame {
            Frame::AboveSp(offset) => (KIND_SP, offset),
            Frame::AboveFp(offset) => (KIND_FP, offset),
            Frame::Outermost => (KIND_OUTERMOST, 0),
            Frame::Undescribed => (KIND_UNDESCRIBED, 0),
            Frame::Compiled { size, into } => {
                let size = size as u64 & ((1 << INTO_SHIFT) - 1);
                return size
                    | (into as u64 & INTO_MASK) << INTO_SHIFT
                    | KIND_COMPILED << KIND_SHIFT;
            }
            Frame::OnHeap { entry } => return entry as u64 | KIND_ON_HEAP << KIND_SHIFT,
        };
        let whose = match self.whose {
            Whose::Own => 1 << OWN_SHIFT,
            Whose::Package => 1 << PACKAGE_SHIFT,
            Whose::Library => 0,
            Whose::CLibrary => 1 << C_LIBRARY_SHIFT,
        };
        offset as u32 as u64
            | (self.saved_fp as u16 as u64) << FP_SHIFT
            | kind << KIND_SHIFT
            | whose
    }
}

const _: () = {
    assert!(size_of::<RowSet>() == 64);
    assert!(ROW_SETS.is_power_of_two());
};
