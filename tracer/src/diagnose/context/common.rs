//! What the stack of a past operation and the present one of its thread have in common, from outside: by the places of
//! frames where they are known, else by the calls.

use std::collections::HashSet;

use super::ReportContext;
use crate::model::{input::Thread, socket::LastOperation, stack::Stack};

/// What the stack of an operation and the present one of its thread have in common, from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Common {
    /// None of the program's functions.
    Nothing,
    /// Only the one that the thread began with, or the program's main function.
    Outermost,
    /// Functions of the program inside of that.
    Inside,
    Unknown,
}

/// How many frames of the operation's stack, from outside, the thread still has. `None` when they cannot be
/// compared: other stacks, or stacks without their outermost callers.
fn shared(operation: LastOperation, stack: &Stack, thread: &Thread) -> Option<usize> {
    if operation.sp != 0 && !stack.frames_at.is_empty() && !thread.frames_at.is_empty() {
        return shared_slots(operation, stack, thread);
    }
    // What was sampled is of many moments, whose calls are the same only where their places are.
    if stack.truncated || thread.sampled.is_some() {
        return None;
    }
    let mut shared = 0;
    let outward = stack.frames.iter().rev().zip(thread.stack.iter().rev());
    for (then, now) in outward {
        if !then.is_same_code(now) {
            break;
        }
        shared += 1;
        if then.offset != now.offset {
            break;
        }
    }
    (shared > 0).then_some(shared)
}

/// By the places of frames on the stack and where they return to.
fn shared_slots(operation: LastOperation, stack: &Stack, thread: &Thread) -> Option<usize> {
    let now: HashSet<(u64, u64)> = thread
        .frames_at
        .iter()
        .map(|frame| (frame.cfa, frame.return_address))
        .collect();
    let (mut from, mut all) = (None, true);
    for frame in stack.frames_at.iter().rev() {
        let slot = (operation.sp.wrapping_add(frame.cfa), frame.return_address);
        if !now.contains(&slot) {
            all = false;
            break;
        }
        from = Some(frame.frame);
    }
    let last = stack.frames.len().checked_sub(1)? as u32;
    match from {
        None => None,
        Some(_) if all => Some(stack.frames.len()),
        // A slot's functions end with that of its number; inlined ones lie before.
        Some(outermost) => Some((last - outermost.min(last)) as usize + 1),
    }
}

impl ReportContext<'_> {
    pub(super) fn common(
        &self,
        operation: LastOperation,
        stack: &Stack,
        thread: &Thread,
    ) -> Common {
        // Of a stack that is known in part only, the callers may be others.
        if thread.stack.is_empty() || stack.frames.is_empty() || stack.one_of_several {
            return Common::Unknown;
        }
        let shared = shared(operation, stack, thread);
        let Some(shared) = shared else {
            return Common::Unknown;
        };
        let outer = stack.frames.len().saturating_sub(shared);
        let outer = stack.frames.get(outer..).unwrap_or_default();
        let own: Vec<usize> = (0..outer.len())
            .filter(|at| (self.blamer)(outer.get(*at..=*at).unwrap_or_default()).is_some())
            .collect();
        match own.as_slice() {
            [] => Common::Nothing,
            // The thread's own outermost function may well be its loop.
            [_] => Common::Outermost,
            _ => Common::Inside,
        }
    }

    /// The very frame of the program's function that made the operation is still in its place.
    pub(super) fn is_in_call(
        &self,
        operation: LastOperation,
        stack: &Stack,
        thread: &Thread,
    ) -> bool {
        let comparable = operation.sp != 0 && !thread.frames_at.is_empty() && !stack.one_of_several;
        let shared = shared_slots(operation, stack, thread).filter(|_| comparable);
        let blamed = (self.blamer)(&stack.frames);
        blamed
            .zip(shared)
            .is_some_and(|(blamed, shared)| blamed + shared >= stack.frames.len())
    }
}
