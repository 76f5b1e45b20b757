//! Ruby 3.0 to 4.0: what its threads execute, from the control frames in the memory of the process.
//! Every pointer is checked for what it must lead to; what does not fit ends the stack there.

mod iseq;
mod layout;
mod machine;
mod note;
mod text;
mod threads;

use super::exports;
use super::first_file;
use super::memory::Memory;
use super::threads::place_near;
use crate::model::stack::Frame;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::open::FileId;
use layout::Layout;

const MAX_FRAMES: usize = 256;
/// A release's number is not longer.
const MAX_VERSION: usize = 32;
/// In a control frame: where its next instruction is, and its instruction sequence; 0 for C functions.
const INSTRUCTION: u64 = 0;
const CODE: u64 = 16;

/// What one process's virtual machine is like.
pub(in crate::symbolize) struct Ruby {
    /// The file whose code is the virtual machine's own.
    pub image: FileId,
    /// The function that executes all of Ruby, `rb_vm_exec`, has a name: where it stands on no stack, nothing is executed.
    pub names_execution: bool,
    layout: Layout,
    /// Where the pointer to the virtual machine is.
    machine: u64,
    /// From the thread pointer to the place of the execution context, where that was found out.
    place: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Activation {
    code: u64,
    instruction: u64,
}

impl Ruby {
    /// `None` when the process runs no Ruby, or one whose structures are not known.
    pub(super) fn learn(code: &CodeIndex, memory: &mut Memory<'_>) -> Option<Self> {
        first_file(code, |code| Self::of(code, memory))
    }

    fn of(code: &Code, memory: &mut Memory<'_>) -> Option<Self> {
        let (image, bias) = (code.image.as_deref()?, code.bias?);
        let [machine, version, execution] = exports::Exports::of(image).ruby;
        let version = memory.string(version?.wrapping_add(bias), MAX_VERSION)?;
        let layout = layout::of_release(&version)?;
        let machine = if let Some(machine) = machine {
            machine.wrapping_add(bias)
        } else {
            let mut variables = exports::writable(&image.file)
                .into_iter()
                .map(|part| part.start.wrapping_add(bias)..part.end.wrapping_add(bias));
            let found = variables.find_map(|part| machine::find(memory, &layout, &part));
            let Some(machine) = found else {
                memory.too_early();
                return None;
            };
            machine
        };
        let mut found = Self {
            image: image.id,
            names_execution: execution.is_some(),
            layout,
            machine,
            place: None,
        };
        found.place = found.find_place(memory);
        Some(found)
    }

    fn find_place(&self, memory: &mut Memory<'_>) -> Option<u64> {
        let machine = memory.word(self.machine)?;
        let known = threads::list(memory, &self.layout, machine);
        place_near(memory, &known)
    }

    /// What the thread with this thread pointer executes, innermost first; the second value says that
    /// outer frames are missing. Only for a thread that does not run meanwhile.
    pub(super) fn present(
        &self,
        memory: &mut Memory<'_>,
        thread: u64,
    ) -> Option<(Vec<Frame>, bool)> {
        let place = self.place.or_else(|| self.find_place(memory))?;
        let frames = threads::frames_of(memory, &self.layout, place, thread)?;
        memory.want(
            (frames.first..frames.end)
                .step_by(4096)
                .take(MAX_FRAMES / 64),
        );
        let mut found = Vec::new();
        let all = (frames.first..frames.end).step_by(usize::try_from(self.layout.frame).ok()?);
        let mut truncated = all.clone().nth(MAX_FRAMES).is_some();
        for frame in all.take(MAX_FRAMES) {
            let Some(code) = memory.word(frame.checked_add(CODE)?) else {
                truncated = true;
                break;
            };
            if code != 0 {
                let instruction = memory.word(frame.checked_add(INSTRUCTION)?)?;
                found.push(Activation { code, instruction });
            }
        }
        let (named, cut) = iseq::name(memory, &self.layout, &found);
        let frames = named.into_iter().map(|(_, frame)| frame).collect();
        Some((frames, truncated || cut))
    }
}
