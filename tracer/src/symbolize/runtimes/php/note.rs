//! What the kernel program needs to note the functions that a process executes, and what those are called.

use tracer_common::runtime::{ALONE, KIND_ONE_THREAD, Runtime};
use zerocopy::transmute;

use super::function::HAS_INSTRUCTIONS;
use super::{Activation, CODE, INSTRUCTION, PREVIOUS, Php, function};
use crate::symbolize::code::CodeIndex;
use crate::symbolize::request::{Function, Functions, RuntimeOf};
use crate::symbolize::runtimes::extent;
use crate::symbolize::runtimes::memory::Memory;

impl Php {
    pub(in crate::symbolize::runtimes) fn to_note(&self, code: &CodeIndex) -> RuntimeOf {
        let Some((image, image_length)) = extent(code, self.image) else {
            return RuntimeOf::Nobody;
        };
        let runtime = Runtime {
            kind: KIND_ONE_THREAD,
            image,
            image_length,
            state: self.current,
            frame_bytes: PREVIOUS + 8,
            previous: PREVIOUS * 8,
            code: CODE * 8,
            instruction: INSTRUCTION * 8,
            instruction_mask: u64::MAX,
            has_instructions: HAS_INSTRUCTIONS,
            ..Runtime::BLANK
        };
        RuntimeOf::Known(transmute!(runtime))
    }

    /// Which object stood for a function says nothing: several closures have the same instructions, and these are its
    /// identity.
    pub(in crate::symbolize::runtimes) fn noted(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
        whole: bool,
    ) -> Functions {
        let stack = activations(functions);
        let count = function::that_stay(memory, self.one_script, &stack, whole);
        let staying = stack.get(..count).unwrap_or_default();
        let told = self.told(memory, staying);
        Functions {
            truncated: told.truncated || count < stack.len(),
            ..told
        }
    }

    /// Also those whose memory the next request uses again: of a moment that has only just passed.
    pub(in crate::symbolize::runtimes) fn sampled(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
    ) -> Functions {
        self.told(memory, &activations(functions))
    }

    fn told(&self, memory: &mut Memory<'_>, stack: &[Activation]) -> Functions {
        let named = memory.steadily(|memory| function::name(memory, &self.layout, stack));
        let (named, truncated) = named.unwrap_or((Vec::new(), true));
        let functions = named
            .into_iter()
            .map(|(_, frame, identity)| Function { frame, identity });
        Functions {
            functions: functions.collect(),
            truncated,
            for_ever: false,
        }
    }
}

fn activations(functions: &[(u64, u64)]) -> Vec<Activation> {
    let activation = |(code, instruction): &(u64, u64)| Activation {
        code: *code,
        instruction: *instruction & !ALONE,
    };
    functions.iter().map(activation).collect()
}
