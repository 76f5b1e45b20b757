//! CPython 3.8 to 3.14: what its threads execute, from the runtime's own structures in the memory of the process.
//! Every pointer is checked for what it must lead to; what does not fit ends the stack there.

mod code;
mod layout;
mod lines;
mod note;
mod objects;
mod tasks;
mod text;
mod threads;

use super::exports::Exports;
use super::first_file;
use super::memory::Memory;
use super::threads::place_of_state;
use crate::model::stack::Frame;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::open::FileId;
use layout::Layout;

const MAX_FRAMES: usize = 128;
/// Values of `owner` from here on: frames that only mark where C code called the interpreter.
const NO_FUNCTION: u8 = 3;
/// References on the stack carry a tag in these bits since 3.14.
const TAG: u64 = 7;

/// What one process's interpreter is like.
pub(in crate::symbolize) struct Cpython {
    /// The file whose code is the interpreter's own.
    pub image: FileId,
    layout: Layout,
    runtime: u64,
    code_type: u64,
    /// From the thread pointer to the place of the thread's state, where that was found out.
    state: Option<u64>,
    /// Where tasks of asyncio are, in the releases of which that is known.
    tasks: Option<tasks::Layout>,
    /// A thread may then have several states.
    many_interpreters: bool,
}

/// A function that is being executed, and where: raw words of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::symbolize) struct Activation {
    pub code: u64,
    pub instruction: u64,
}

impl Cpython {
    /// `None` when the process runs no Python, or one whose structures are not known.
    pub(super) fn learn(code: &CodeIndex, memory: &mut Memory<'_>) -> Option<Self> {
        first_file(code, |code| Self::of(code, memory))
    }

    fn of(code: &Code, memory: &mut Memory<'_>) -> Option<Self> {
        let (image, bias) = (code.image.as_deref()?, code.bias?);
        let [runtime, code_type, version] = Exports::of(image).python;
        let runtime = runtime?.wrapping_add(bias);
        let minor = match version {
            Some(version) => of_version(memory.word(version.wrapping_add(bias))?),
            None => of_file_name(&code.mapping.name),
        };
        let layout =
            layout::from_debug_offsets(memory, runtime).or_else(|| layout::of_release(minor?))?;
        let mut found = Self {
            image: image.id,
            layout,
            tasks: minor.and_then(tasks::of_release),
            runtime,
            code_type: code_type?.wrapping_add(bias),
            state: None,
            many_interpreters: false,
        };
        let known = threads::list(memory, &found.layout, runtime);
        found.many_interpreters = known.many_interpreters;
        found.state = place_of_state(memory, &known.states);
        Some(found)
    }

    /// What the thread with this thread pointer executes, innermost first; the second value says that
    /// outer frames are missing. Only for a thread that does not run meanwhile.
    pub(super) fn walk(
        &self,
        memory: &mut Memory<'_>,
        thread: u64,
    ) -> Option<(Vec<Activation>, bool)> {
        let state = self.state_of(memory, thread)?;
        let mut frame = memory.word(state.checked_add(self.layout.frame)?)?;
        if let Some(again) = self.layout.frame_again {
            frame = memory.word(frame.checked_add(again)?)?;
        }
        let mut found = Vec::new();
        for _ in 0..MAX_FRAMES {
            if frame == 0 {
                return Some((found, false));
            }
            let Some((activation, previous)) = self.frame(memory, frame) else {
                return Some((found, true));
            };
            found.extend(activation);
            frame = previous;
        }
        Some((found, true))
    }

    fn frame(&self, memory: &mut Memory<'_>, frame: u64) -> Option<(Option<Activation>, u64)> {
        let layout = &self.layout;
        let at = |offset: u64| frame.checked_add(offset);
        let previous = memory.word(at(layout.previous)?)?;
        if let Some(owner) = layout.owner {
            let [owner] = memory.array(at(owner)?)?;
            if owner >= NO_FUNCTION {
                return Some((None, previous));
            }
        }
        let code = memory.word(at(layout.code)?)? & !TAG;
        let instruction = match layout.instruction_is {
            layout::Instruction::Address => memory.word(at(layout.instruction)?)?,
            _ => memory.half(at(layout.instruction)?)?.into(),
        };
        Some((Some(Activation { code, instruction }), previous))
    }

    fn state_of(&self, memory: &mut Memory<'_>, thread: u64) -> Option<u64> {
        if !self.many_interpreters
            && let Some(place) = self.state
            && let Some(state) = memory.word(thread.checked_add(place)?)
            && memory.word(state.checked_add(self.layout.thread_id)?) == Some(thread)
        {
            return Some(state);
        }
        let known = threads::list(memory, &self.layout, self.runtime);
        let mut states = known.states.iter().filter(|(of, _)| *of == thread);
        let (_, state) = states.next()?;
        // Of several nothing says which one it executes with.
        states.next().is_none().then_some(*state)
    }

    /// Frames for the report, up to the first that is not what it should be.
    pub(in crate::symbolize) fn name(
        &self,
        memory: &mut Memory<'_>,
        stack: &[Activation],
    ) -> Vec<Frame> {
        code::name(memory, &self.layout, self.code_type, stack)
    }
}

/// The minor number of a release of Python 3, from `PY_VERSION_HEX`.
fn of_version(version: u64) -> Option<u8> {
    let [_, _, minor, major] = u32::try_from(version).ok()?.to_le_bytes();
    (major == 3).then_some(minor)
}

/// Before 3.11 only the names of files tell: `libpython3.9.so.1.0`, `python3.9`.
fn of_file_name(name: &str) -> Option<u8> {
    let (_, rest) = name.split_once("python3.")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    // Since 3.11 the symbol would be there.
    digits.parse().ok().filter(|minor| *minor < 11)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_told_by_number_or_by_name() {
        assert_eq!(of_version(0x030b_02f0), Some(11));
        assert_eq!(of_version(0x0207_12f0), None);
        assert_eq!(of_file_name("libpython3.8.so.1.0"), Some(8));
        assert_eq!(of_file_name("python3.10"), Some(10));
        assert_eq!(of_file_name("uwsgi"), None);
        assert_eq!(of_file_name("python3"), None);
    }
}
