//! What JavaScript a thread executes that waits: the same way from frame to frame as the kernel program's, with all checks.

use super::function::{Function, Sources};
use super::heap::{Heap, is_object};
use super::{Node, anchor, note};
use crate::model::stack::Frame;
use crate::symbolize::runtimes::memory::Memory;

const MAX_FRAMES: usize = 256;
/// From a frame pointer down: context, closure, and where an entry from C++ says that JavaScript was left before.
const CONTEXT: u64 = 8;
const CLOSURE: u64 = 16;
const LEFT_BEFORE: u64 = 64;
/// In place of a context: an entry from C++, also of a constructor.
const ENTRIES: [u64; 2] = [1 << 1, 2 << 1];

impl Node {
    /// What the first thread executes, innermost first; the second value says that outer frames are missing. Only while it
    /// does not run.
    pub(in crate::symbolize::runtimes) fn present(
        &self,
        memory: &mut Memory<'_>,
        first: bool,
    ) -> Option<(Vec<Frame>, bool)> {
        let place = self.left().filter(|_| first)?;
        let isolate = anchor::isolate(memory, &self.variables, place)?;
        let mut fp = memory.word(isolate.checked_add(place)?)?;
        let mut heap = Heap::new(memory, &self.layout);
        let (mut sources, mut found) = (Sources::default(), Vec::new());
        for _ in 0..MAX_FRAMES {
            if fp == 0 {
                return Some((found, false));
            }
            let Some((function, next)) = leave(&mut heap, fp, &mut sources) else {
                return Some((found, true));
            };
            found.extend(function.and_then(note::frame));
            fp = next;
        }
        Some((found, true))
    }
}

/// The function of one frame, where it is of one, and the frame of its caller.
fn leave(
    heap: &mut Heap<'_, '_>,
    fp: u64,
    sources: &mut Sources,
) -> Option<(Option<Function>, u64)> {
    let context = heap.memory.word(fp.checked_sub(CONTEXT)?)?;
    let next = if ENTRIES.contains(&context) {
        heap.memory.word(fp.checked_sub(LEFT_BEFORE)?)?
    } else {
        heap.memory.word(fp)?
    };
    // Callers lie above what they called.
    (next == 0 || next > fp).then_some(())?;
    if context & 1 == 0 {
        return Some((None, next));
    }
    let closure = heap.memory.word(fp.checked_sub(CLOSURE)?)?;
    is_object(closure).then_some(())?;
    let shared = heap.field(closure, heap.layout.shared)?;
    let function = heap.shared(shared, sources)?;
    Some((Some(function), next))
}
