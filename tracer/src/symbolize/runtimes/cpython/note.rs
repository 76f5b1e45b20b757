//! What the kernel program needs to note the functions that threads execute, and what those are called.

use tracer_common::runtime::{KIND_INTERPRETER, MAX_FRAME_BYTES, NOWHERE, Runtime};
use zerocopy::transmute;

use super::layout::Instruction;
use super::{Activation, Cpython, threads};
use crate::symbolize::code::CodeIndex;
use crate::symbolize::request::{Function, Functions, RuntimeOf};
use crate::symbolize::runtimes::extent;
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::runtimes::threads::place_of_state;

impl Cpython {
    pub(in crate::symbolize::runtimes) fn to_note(
        &self,
        code: &CodeIndex,
        memory: &mut Memory<'_>,
    ) -> RuntimeOf {
        let known = threads::list(memory, &self.layout, self.runtime);
        if known.many_interpreters {
            return RuntimeOf::Nobody;
        }
        let state = self.state.or_else(|| place_of_state(memory, &known.states));
        let Some(state) = state else {
            return RuntimeOf::NotYet;
        };
        match self.runtime_at(state, code) {
            Some(runtime) => RuntimeOf::Known(transmute!(runtime)),
            None => RuntimeOf::Nobody,
        }
    }

    fn runtime_at(&self, state: u64, code: &CodeIndex) -> Option<Runtime> {
        let (image, image_length) = extent(code, self.image)?;
        let layout = &self.layout;
        let places = [
            layout.previous,
            layout.code,
            layout.instruction,
            layout.owner.unwrap_or(0),
        ];
        let frame_bytes = (places.into_iter().max()? & !7) + 8;
        let indexed = layout.instruction_is != Instruction::Address;
        (frame_bytes < MAX_FRAME_BYTES).then_some(Runtime {
            kind: KIND_INTERPRETER,
            image,
            image_length,
            state,
            frame: layout.frame,
            frame_again: layout.frame_again.unwrap_or(NOWHERE),
            frame_bytes,
            previous: layout.previous * 8,
            code: layout.code * 8,
            instruction: layout.instruction * 8,
            instruction_mask: if indexed {
                u64::from(u32::MAX)
            } else {
                u64::MAX
            },
            owner: layout.owner.unwrap_or(0) * 8,
            owner_mask: if layout.owner.is_some() { 0xff } else { 0 },
            ..Runtime::BLANK
        })
    }

    /// `None` when a thread may be in another interpreter than the one whose functions were noted.
    pub(in crate::symbolize::runtimes) fn noted(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
    ) -> Option<Functions> {
        if !threads::is_alone(memory, &self.layout, self.runtime)? {
            return None;
        }
        let stack: Vec<Activation> = functions
            .iter()
            .map(|(code, instruction)| Activation {
                code: *code,
                instruction: *instruction,
            })
            .collect();
        let frames = memory.steadily(|memory| self.name(memory, &stack));
        let frames = frames.unwrap_or_default();
        let truncated = frames.len() < stack.len();
        let functions = frames.into_iter().zip(&stack).map(|(frame, one)| Function {
            frame,
            identity: one.code,
        });
        Some(Functions {
            functions: functions.collect(),
            truncated,
            for_ever: false,
        })
    }
}
