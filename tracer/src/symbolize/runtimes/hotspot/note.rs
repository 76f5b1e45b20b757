//! What the kernel program needs to note the methods that threads execute, and what those are called.

use std::collections::HashMap;

use tracer_common::runtime::{KIND_HOTSPOT, MAX_COMPILED_FRAME, Runtime, java};
use tracer_common::unwind::{Frame as Leaving, INTO_MASK, Rule, Whose};
use zerocopy::transmute;

use super::Hotspot;
use super::code_cache::{CodeCache, Heap, Kind};
use super::heap::OnHeap;
use super::method::Place;
use super::virtual_threads::VirtualThreads;
use super::walk::{At, Words};
use crate::symbolize::request::{AddressRule, Function, Functions, RuntimeOf};
use crate::symbolize::runtimes::CopiedStack;
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::runtimes::threads;

/// Of an interrupted thread so many are named, counted from outside: further in an expression is matched, or a function calls
/// itself.
const MAX_OUTER: usize = 64;

impl Hotspot {
    pub(in crate::symbolize::runtimes) fn to_note(&self, memory: &mut Memory<'_>) -> RuntimeOf {
        // Elsewhere the kernel program cannot tell frames apart.
        if !cfg!(target_arch = "x86_64") || !self.is_anchor_as_expected() {
            return RuntimeOf::Nobody;
        }
        match self.runtime(memory) {
            Some(runtime) => RuntimeOf::Known(transmute!(runtime)),
            None => RuntimeOf::NotYet,
        }
    }

    /// Three words in this order, in all releases so far.
    fn is_anchor_as_expected(&self) -> bool {
        let sp = self.anchor_sp.at;
        self.anchor_pc.at == sp + 8 && self.anchor_fp.at == sp + 16
    }

    fn runtime(&self, memory: &mut Memory<'_>) -> Option<Runtime> {
        let known = self.list(memory);
        let state = self
            .state
            .or_else(|| threads::place_of_state(memory, &known))?;
        let heaps = self.cache.heaps(memory)?;
        let code = CodeCache::range(&heaps)?;
        let (interpreter, end) = self.interpreter?;
        Some(Runtime {
            kind: KIND_HOTSPOT,
            image: code.start,
            image_length: code.end - code.start,
            state,
            anchor: self.anchor.at.checked_add(self.anchor_sp.at)?,
            interpreter,
            interpreter_length: end.checked_sub(interpreter)?,
            call_stub: self.call_stub,
            wrapper_anchor: self.wrapper_anchor.at.checked_add(self.anchor_sp.at)?,
            epoch: self.epoch?,
            compile_id: self.compiled.place_of_number(),
            mounted: self
                .virtual_threads
                .as_ref()
                .map_or(0, VirtualThreads::to_note),
            ..self
                .on_heap
                .as_ref()
                .map_or(Runtime::BLANK, OnHeap::to_note)
        })
    }

    /// What the noted methods are called, up to the first that is not what it was.
    pub(in crate::symbolize::runtimes) fn noted(
        &self,
        memory: &mut Memory<'_>,
        functions: &[(u64, u64)],
    ) -> Option<Functions> {
        let heaps = self.cache.heaps(memory)?;
        let interpreted = functions.iter().filter(|(_, at)| !java::is_compiled(*at));
        memory.want(interpreted.clone().map(|(method, _)| *method));
        let mut places = Vec::new();
        let mut truncated = false;
        for (code, instruction) in functions {
            let Some(of_frame) = self.frame_of(memory, &heaps, *code, *instruction) else {
                truncated = true;
                break;
            };
            places.extend(of_frame);
        }
        let told = self.told(memory, &places, truncated);
        // After all else is read: no class was unloaded since the call, so all methods were what they are.
        let epoch = memory.word(self.epoch?)?;
        let mut interpreted = interpreted;
        let is_of_then =
            |(_, at): &(u64, u64)| *at == java::interpreted(java::bytecode(*at), epoch);
        if interpreted.all(is_of_then) {
            return Some(Functions {
                for_ever: true,
                ..told
            });
        }
        Some(Functions {
            truncated: true,
            ..Functions::default()
        })
    }

    /// The methods of one frame, innermost first.
    fn frame_of(
        &self,
        memory: &mut Memory<'_>,
        heaps: &[Heap],
        code: u64,
        instruction: u64,
    ) -> Option<Vec<Place>> {
        if !java::is_compiled(instruction) {
            let bytecode = java::bytecode(instruction);
            return Some(vec![self.methods.interpreted(memory, code, bytecode)?]);
        }
        let blob = self.cache.find(memory, heaps, code)?;
        let number = match blob.kind {
            Kind::Stub => 0,
            _ => self.compiled.number(memory, blob)?,
        };
        if java::compiled(blob.frame_size, number) != instruction {
            return None;
        }
        match blob.kind {
            Kind::Compiled => self.compiled.places(memory, blob, code),
            Kind::NativeWrapper => Some(vec![self.compiled.native(memory, blob)?]),
            Kind::Stub => Some(Vec::new()),
            Kind::Interpreter | Kind::Continuation | Kind::Other => None,
        }
    }

    /// The same of a stack that the kernel program could not follow to its end, from the copy of it.
    pub(in crate::symbolize::runtimes) fn copied(
        &self,
        memory: &mut Memory<'_>,
        from: [u64; 3],
        stack: CopiedStack<'_>,
    ) -> Option<Functions> {
        let heaps = self.cache.heaps(memory)?;
        let walked = self.walk(memory, &heaps, start(from), words(stack, false));
        Some(self.told(memory, &walked.places, walked.truncated))
    }

    /// The same of a thread that was interrupted in made code; where the copy ends, of what lies there now if that was `lately`. `None` when the
    /// address is in no such code.
    pub(in crate::symbolize::runtimes) fn interrupted(
        &self,
        memory: &mut Memory<'_>,
        from: [u64; 3],
        stack: CopiedStack<'_>,
        lately: bool,
    ) -> Option<Functions> {
        let heaps = self.cache.heaps(memory)?;
        let walked = self.walk_interrupted(memory, &heaps, start(from), words(stack, lately))?;
        let inner = walked.places.len().saturating_sub(MAX_OUTER);
        let outer = walked.places.get(inner..).unwrap_or_default();
        Some(self.told(memory, outer, walked.truncated))
    }

    /// How the frames of compiled code are left on the way out from there. Holds for that code at any time, whatever lies
    /// on the stack by now.
    pub(in crate::symbolize::runtimes) fn rules(
        &self,
        memory: &mut Memory<'_>,
        from: [u64; 3],
        stack: CopiedStack<'_>,
        on_heap: [u64; 3],
    ) -> Vec<AddressRule> {
        let Some(heaps) = self.cache.heaps(memory) else {
            return Vec::new();
        };
        let mut walked = self.walk(memory, &heaps, start(from), words(stack, true));
        if on_heap != [0; 3] {
            // Whatever lies there by now.
            let end = u64::MAX;
            let outer = self.walk(memory, &heaps, start(on_heap), Words::OnHeap { end });
            walked.sizes.extend(outer.sizes);
            walked.entered = walked.entered.or(outer.entered);
        }
        let usable = walked
            .sizes
            .into_iter()
            .filter(|(_, size, into)| *size < MAX_COMPILED_FRAME && *into <= INTO_MASK);
        let compiled = usable.map(|(address, size, into)| {
            let (size, into) = (size as u32, into as u32);
            (address, Leaving::Compiled { size, into })
        });
        let barrier = walked.barrier.into_iter();
        let barrier = barrier.map(|(address, entry)| (address, Leaving::OnHeap { entry }));
        let entered = walked.entered.into_iter();
        let entered = entered.map(|address| (address, Leaving::OnHeap { entry: 0 }));
        let rules = compiled.chain(barrier).chain(entered);
        let rule = |(address, frame)| AddressRule {
            address,
            rule: Rule {
                frame,
                whose: Whose::Library,
                saved_fp: 0,
            }
            .pack(),
        };
        rules.map(rule).collect()
    }

    fn told(&self, memory: &mut Memory<'_>, places: &[Place], truncated: bool) -> Functions {
        let functions = self.name(memory, places);
        Functions {
            truncated: truncated || functions.len() < places.len(),
            functions,
            for_ever: false,
        }
    }

    pub(super) fn name(&self, memory: &mut Memory<'_>, places: &[Place]) -> Vec<Function> {
        self.methods.want(memory, places);
        let mut known: HashMap<Place, Function> = HashMap::new();
        let named = places.iter().map_while(|place| {
            if let Some(function) = known.get(place) {
                return Some(function.clone());
            }
            let function = Function {
                frame: self.methods.frame(memory, place)?,
                identity: place.identity,
            };
            known.insert(*place, function.clone());
            Some(function)
        });
        named.collect()
    }
}

fn start([pc, sp, fp]: [u64; 3]) -> At {
    At { pc, sp, fp }
}

fn words(stack: CopiedStack<'_>, or_live: bool) -> Words<'_> {
    let CopiedStack { sp, bytes } = stack;
    Words::Copied { sp, bytes, or_live }
}
