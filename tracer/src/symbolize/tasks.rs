//! The suspended tasks of a program that uses asyncio, and the virtual threads of Java that wait: what crosses from the
//! helper, and its bounds.

use serde::{Deserialize, Serialize};

use super::message::are_plausible;
use super::{StackCopy, Symbolizer};
use crate::model::input::ProcessKey;
use crate::model::stack::Frame;

/// Tasks of one process that are told, coroutines that one leads to, descriptors that one has.
pub(super) const MAX_TOLD: usize = 2048;
pub(super) const MAX_CHAIN: usize = 32;
pub(super) const MAX_HELD: usize = 16;
/// Frames that are told of one.
pub(super) const MAX_FRAMES: usize = 128;
/// Different stacks of them.
pub(super) const MAX_STACKS: usize = 512;
const MAX_NAME: usize = 512;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    pub tasks: Vec<SuspendedTask>,
    /// Each once, however many tasks are there; innermost first.
    pub stacks: Vec<Vec<Frame>>,
    /// There are no others.
    pub all: bool,
    pub are_virtual_threads: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspendedTask {
    /// Its address: no other one has it while it exists. Of a virtual thread its number.
    pub id: u64,
    pub name: String,
    /// Place in the list of stacks.
    pub stack: u32,
    /// Descriptors, and how far each is from a variable of its coroutines.
    pub holds: Vec<(i32, u8)>,
}

impl Tasks {
    pub(super) fn is_plausible(&self) -> bool {
        self.tasks.len() <= MAX_TOLD
            && self.stacks.len() <= MAX_STACKS
            && self
                .stacks
                .iter()
                .all(|stack| stack.len() <= MAX_FRAMES && are_plausible(stack))
            && self.tasks.iter().all(|task| {
                (task.stack as usize) < self.stacks.len()
                    && task.name.len() <= MAX_NAME
                    && task.holds.len() <= MAX_HELD
            })
    }
}

impl Symbolizer {
    /// The suspended tasks of a program that uses asyncio, or its virtual threads that wait; `None` when it has neither, or
    /// they cannot be read now.
    pub fn tasks(&mut self, process: ProcessKey) -> Option<Tasks> {
        self.prepare(&StackCopy::of_nothing(process)).ok()?;
        let known = self.processes.get(&process.pid)?;
        self.link.tasks(&known.process).ok()?
    }
}
