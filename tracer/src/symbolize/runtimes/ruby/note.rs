//! What the kernel program needs to note the methods and blocks that threads execute, and what those are called.

use tracer_common::runtime::{KIND_INTERPRETER, Runtime};
use zerocopy::transmute;

use super::threads::{FRAME, VALUES};
use super::{Activation, CODE, INSTRUCTION, Ruby, iseq};
use crate::symbolize::code::CodeIndex;
use crate::symbolize::request::{Function, Functions, RuntimeOf};
use crate::symbolize::runtimes::extent;
use crate::symbolize::runtimes::memory::Memory;

impl Ruby {
    pub(in crate::symbolize::runtimes) fn to_note(
        &self,
        code: &CodeIndex,
        memory: &mut Memory<'_>,
    ) -> RuntimeOf {
        let Some(state) = self.place.or_else(|| self.find_place(memory)) else {
            return RuntimeOf::NotYet;
        };
        let Some((image, image_length)) = extent(code, self.image) else {
            return RuntimeOf::Nobody;
        };
        let runtime = Runtime {
            kind: KIND_INTERPRETER,
            image,
            image_length,
            state,
            frame: FRAME,
            frame_bytes: CODE + 8,
            code: CODE * 8,
            instruction: INSTRUCTION * 8,
            instruction_mask: u64::MAX,
            stride: self.layout.frame,
            values: VALUES,
            ..Runtime::BLANK
        };
        RuntimeOf::Known(transmute!(runtime))
    }

    pub(in crate::symbolize::runtimes) fn noted(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
    ) -> Functions {
        let stack: Vec<Activation> = functions
            .iter()
            .map(|(code, instruction)| Activation {
                code: *code,
                instruction: *instruction,
            })
            .collect();
        let named = memory.steadily(|memory| iseq::name(memory, &self.layout, &stack));
        let (named, truncated) = named.unwrap_or((Vec::new(), true));
        let functions = named.into_iter().filter_map(|(number, frame)| {
            let identity = stack.get(number)?.code;
            Some(Function { frame, identity })
        });
        Functions {
            functions: functions.collect(),
            truncated,
            for_ever: false,
        }
    }
}
