//! PHP 8.0 to 8.4 without thread safety: what a process executes, from the frames that its executor keeps. It runs in the first
//! thread only. Every pointer is checked for what it must lead to; what does not fit ends the stack there.

mod function;
mod layout;
mod note;
mod text;

use super::exports;
use super::first_file;
use super::memory::Memory;
use crate::model::stack::Frame;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::open::FileId;
use layout::Layout;

const MAX_FRAMES: usize = 256;
/// In a frame: its instruction, its function, and the frame of its caller.
const INSTRUCTION: u64 = 0;
const CODE: u64 = 24;
const PREVIOUS: u64 = 48;

/// What one process's executor is like.
pub(in crate::symbolize) struct Php {
    /// The file whose code is the executor's own.
    pub image: FileId,
    layout: Layout,
    /// Where the pointer to the innermost frame is.
    current: u64,
    /// It runs one script, whose functions stay; elsewhere those of a request are gone with it.
    one_script: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Activation {
    code: u64,
    instruction: u64,
}

impl Php {
    /// `None` when the process runs no PHP, or one whose structures are not known.
    pub(super) fn learn(code: &CodeIndex, memory: &mut Memory<'_>) -> Option<Self> {
        first_file(code, |code| Self::of(code, memory))
    }

    fn of(code: &Code, memory: &mut Memory<'_>) -> Option<Self> {
        let (image, bias) = (code.image.as_deref()?, code.bias?);
        // Where every thread has an executor of its own there is no such variable.
        let [Some(modules), Some(executor), Some(server)] = exports::Exports::of(image).php else {
            return None;
        };
        let layout = layout::find(memory, modules.wrapping_add(bias))?;
        let executor = executor.wrapping_add(bias);
        if !layout::is_executor(memory, executor) {
            // Between two requests it has no stack.
            memory.too_early();
            return None;
        }
        Some(Self {
            image: image.id,
            layout,
            current: executor.checked_add(layout::CURRENT)?,
            one_script: layout::runs_one_script(memory, server.wrapping_add(bias)),
        })
    }

    /// What the process executes, innermost first; the second value says that outer frames are missing. Only while its
    /// first thread, which is asked about, does not run.
    pub(super) fn present(
        &self,
        memory: &mut Memory<'_>,
        first: bool,
    ) -> Option<(Vec<Frame>, bool)> {
        if !first {
            return None;
        }
        let (stack, truncated) = walk(memory, self.current)?;
        let (named, cut) = function::name(memory, &self.layout, &stack);
        let frames = named.into_iter().map(|(_, frame, _)| frame).collect();
        Some((frames, truncated || cut))
    }
}

/// Functions that have instructions, and whether outer ones are missing.
fn walk(memory: &mut Memory<'_>, current: u64) -> Option<(Vec<Activation>, bool)> {
    let mut frame = memory.word(current)?;
    let mut found = Vec::new();
    for _ in 0..MAX_FRAMES {
        if frame == 0 {
            return Some((found, false));
        }
        let mut word = |at: u64| memory.word(frame.checked_add(at)?);
        let (Some(code), Some(instruction), Some(previous)) =
            (word(CODE), word(INSTRUCTION), word(PREVIOUS))
        else {
            return Some((found, true));
        };
        // A frame without one stands between C code and what that has called.
        if code != 0 && function::has_instructions(memory, code)? {
            found.push(Activation { code, instruction });
        }
        frame = previous;
    }
    Some((found, true))
}

#[cfg(test)]
mod tests;
