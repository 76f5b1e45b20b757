//! What is asked of the symbolizer and what it answers: plain data that can cross to a process.

use serde::{Deserialize, Serialize};
use tracer_common::runtime::Activation;

use super::warning::Warning;
use crate::model::input::ProcessKey;
use crate::model::stack::{Frame, Stack};

/// Registers and stack bytes as copied by the kernel hook.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    /// Thread group id.
    pub pid: u32,
    /// Start of the process in nanoseconds of `CLOCK_BOOTTIME`; 0 when unknown.
    pub start_boot_ns: u64,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    /// Return address register; 0 on machines without one.
    pub lr: u64,
    /// The thread pointer, for a thread that has not run since and does not: then what its language runtime executes can
    /// be read from the process. 0 for a moment that has passed.
    pub thread: u64,
    /// That thread is its process's first.
    pub first_thread: bool,
    /// What the kernel program has noted of its language runtime at a moment that has passed.
    pub noted: Noted<'a>,
    /// Memory from `sp` upwards.
    pub bytes: &'a [u8],
    /// The return addresses that the kernel program came to, as far as it could: they may lie beyond `bytes`.
    pub walked: &'a [u64],
    /// How many return addresses to believe; the callers further out are left off.
    pub sure: Option<u32>,
}

impl StackCopy<'_> {
    /// For what is asked of a process and not of a stack.
    pub const fn of_nothing(process: ProcessKey) -> Self {
        Self {
            pid: process.pid,
            start_boot_ns: process.start_boot,
            pc: 0,
            sp: 0,
            fp: 0,
            lr: 0,
            thread: 0,
            first_thread: false,
            noted: Noted::Nothing,
            bytes: &[],
            walked: &[],
            sure: None,
        }
    }
}

/// What is known of the functions of a language runtime that a thread was executing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Noted<'a> {
    /// Nobody had asked for them.
    #[default]
    Nothing,
    /// There were none.
    NoFunctions,
    /// They could not be read.
    Unread,
    /// Innermost first; where there are more, `deeper`.
    Functions {
        functions: &'a [Activation],
        deeper: bool,
    },
    /// Of Java not all, but where it was left: code address, stack pointer and frame pointer. And where among frames on the heap the
    /// way on was not known; 0 if that was elsewhere.
    Cut { from: [u64; 3], on_heap: [u64; 3] },
    /// The same of one of many samples: where other code may have taken the place meanwhile, the others tell.
    Sampled {
        functions: &'a [Activation],
        deeper: bool,
    },
    /// Code that Java has made was interrupted with these, at any instruction.
    /// Only lately, if what lies further out than the copy is to be read where it is now.
    Interrupted { from: [u64; 3], lately: bool },
}

/// A function of a language runtime that was executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    pub frame: Frame,
    /// Of its code: what took its place has another number, even under the same name.
    pub identity: u64,
}

/// Innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Functions {
    pub functions: Vec<Function>,
    /// Outer ones are missing.
    pub truncated: bool,
    /// What was noted says itself of which code it is, so nothing that comes into its place can be meant.
    pub for_ever: bool,
}

/// Whether a process has a language runtime whose functions the kernel program can note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and in a box it could not be copied"
)]
pub enum RuntimeOf {
    Nobody,
    /// Perhaps later: it has only begun.
    NotYet,
    /// The words of a [`tracer_common::runtime::Runtime`], its tag left out.
    Known([u64; 32]),
}

/// A code address on a stack, and how the kernel program is to leave the frame there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRule {
    pub address: u64,
    /// As [`tracer_common::unwind::Rule::pack`] makes it.
    pub rule: u64,
}

/// A named stack. [`crate::model::stack::Frame::offset`] is the frame's address as the ELF file has it (the value
/// `objdump` and `addr2line` use): the program counter in the innermost frame, the return address
/// itself in the others, although those are looked up one byte earlier. Inlined frames carry the
/// offset of the frame they were inlined into. Code of a file that could not be read has its
/// offset in the file, code of no file (`[jit]`, `[runtime]`, `[interpreter]`, or
/// no module) its run-time address; a run of frames of it without names is one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub stack: Stack,
    /// What is called now what the kernel program has noted of a language runtime, to be told below the native
    /// frames; `None` where that cannot be read any more. Shorter where something is not what it was.
    pub functions: Option<Functions>,
    pub warnings: Vec<Warning>,
    /// The helper process failed this time: another time there may be more to say.
    pub failed: bool,
}

/// What the bounds of the caches have cost so far: the evicted is read again when needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// At more than 512 processes.
    pub processes: u64,
    /// At more than 256 files.
    pub images: u64,
    /// At more than 64 files with names, or 1 GiB of them.
    pub names: u64,
}
