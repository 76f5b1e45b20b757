//! What the kernel program needs to note the functions that JavaScript executes when it calls C++, and what those are called.

use tracer_common::runtime::{KIND_V8, Runtime, v8};
use zerocopy::transmute;

use super::function::{Function as Found, Sources};
use super::heap::Heap;
use super::{Node, anchor};
use crate::model::stack::{Frame, NODE, Runtime as Made};
use crate::symbolize::code::CodeIndex;
use crate::symbolize::request::{Function, Functions, RuntimeOf};
use crate::symbolize::runtimes::extent;
use crate::symbolize::runtimes::memory::Memory;

impl Node {
    pub(in crate::symbolize::runtimes) fn to_note(
        &self,
        code: &CodeIndex,
        memory: &mut Memory<'_>,
    ) -> RuntimeOf {
        let noted = self.noted_image().and_then(|image| extent(code, image));
        let (Some(place), Some((image, image_length))) = (self.left(), noted) else {
            return RuntimeOf::Nobody;
        };
        let Some(isolate) = anchor::isolate(memory, &self.variables, place) else {
            // Its environment is made after its libraries are loaded.
            return RuntimeOf::NotYet;
        };
        let tagged = |offset: u64| offset.wrapping_sub(1);
        let runtime = Runtime {
            kind: KIND_V8,
            image,
            image_length,
            state: isolate + place,
            shared: tagged(self.layout.shared),
            scope: tagged(self.layout.name_or_scope),
            ..Runtime::BLANK
        };
        RuntimeOf::Known(transmute!(runtime))
    }

    /// What the noted functions are called, up to the first that is not what it was: objects move, and then another one may
    /// lie there. Those that V8 has built in are left out.
    pub(in crate::symbolize::runtimes) fn noted(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
    ) -> Functions {
        let told = memory.steadily(|memory| self.up_to_another(memory, functions.iter()));
        let (functions, all) = told.unwrap_or_default();
        Functions {
            functions,
            truncated: !all,
            ..Functions::default()
        }
    }

    /// The same from the outermost on: the inner ones are left off. Where V8 was interrupted while it made a frame, the
    /// innermost need not have been one.
    pub(in crate::symbolize::runtimes) fn sampled(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
    ) -> Functions {
        let told = memory.steadily(|memory| self.up_to_another(memory, functions.iter().rev()));
        let (mut functions, _) = told.unwrap_or_default();
        functions.reverse();
        Functions {
            functions,
            ..Functions::default()
        }
    }

    /// And whether these are all.
    fn up_to_another<'f>(
        &self,
        memory: &mut Memory<'_>,
        functions: impl Iterator<Item = &'f (u64, u64)> + Clone,
    ) -> (Vec<Function>, bool) {
        memory.want(functions.clone().map(|(shared, _)| *shared));
        let mut heap = Heap::new(memory, &self.layout);
        let mut sources = Sources::default();
        let mut told = Vec::new();
        for (shared, instruction) in functions {
            let Some((found, identity)) = one(&mut heap, *shared, *instruction, &mut sources)
            else {
                return (told, false);
            };
            told.extend(frame(found).map(|frame| Function { frame, identity }));
        }
        (told, true)
    }
}

fn one(
    heap: &mut Heap<'_, '_>,
    shared: u64,
    instruction: u64,
    sources: &mut Sources,
) -> Option<(Found, u64)> {
    let description = heap.field(shared, heap.layout.name_or_scope)?;
    v8::is_of(instruction, description).then_some(())?;
    let found = heap.shared(shared, sources)?;
    Some((found, description))
}

/// `None` of those that V8 has built in.
pub(super) fn frame(found: Found) -> Option<Frame> {
    let (name, file) = match found {
        Found::Program(frame) => return Some(frame),
        Found::Runtime { name, file } => (name, Some(file).filter(|file| !file.is_empty())?),
    };
    let name = Some(name).filter(|name| !name.is_empty());
    Some(Frame {
        function: Some(name.unwrap_or_else(|| Frame::ANONYMOUS.to_owned())),
        module: Some(NODE.to_owned()),
        file: Some(file),
        runtime: Some(Made::Node),
        ..Frame::default()
    })
}
