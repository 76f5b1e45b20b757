//! What the stack of a past operation and the present one of its thread have in common, from outside: by the places of
//! frames where they are known, else by the calls.

use foldhash::HashMap;

use super::{ReportContext, waits::WaitsFor};
use crate::model::{
    input::Thread,
    socket::LastOperation,
    stack::{Frame, FrameAddress, Stack},
};

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
    shared_names(stack, thread)
}

/// By what the functions are called, and where in them the next one was.
fn shared_names(stack: &Stack, thread: &Thread) -> Option<usize> {
    let mut shared = 0;
    // What is inlined into the function in which they part has its offset.
    let mut part = None;
    let outward = stack.frames.iter().rev().zip(thread.stack.iter().rev());
    for (then, now) in outward {
        let place = |frame: &Frame| (frame.offset, frame.line.filter(|_| frame.is_managed()));
        let at = (place(then), place(now));
        if !then.is_same_code(now) || part.is_some_and(|part| part != at) {
            break;
        }
        shared += 1;
        if at.0 != at.1 {
            part = Some(at);
        }
    }
    (shared > 0).then_some(shared)
}

/// By the places of frames on the stack and where they return to.
fn shared_slots(operation: LastOperation, stack: &Stack, thread: &Thread) -> Option<usize> {
    let slots = thread.frames_at.iter().enumerate();
    let now: HashMap<(u64, u64), usize> = slots
        .map(|(at, frame)| ((frame.cfa, frame.return_address), at))
        .collect();
    let (mut innermost, mut all) = (None, true);
    for (at, frame) in stack.frames_at.iter().enumerate().rev() {
        let slot = (operation.sp.wrapping_add(frame.cfa), frame.return_address);
        let Some(same) = now.get(&slot) else {
            all = false;
            break;
        };
        innermost = Some((at, *same));
    }
    let (then, now) = innermost?;
    if all {
        return Some(stack.frames.len());
    }
    let outermost = stack.frames_at.get(then)?.frame as usize;
    let shared = stack.frames.len().checked_sub(outermost)?;
    // The slot is that of the function that has it. Calls inlined into that one have none of their own: they are as much in
    // their place if they are there by name.
    let then = inlined(&stack.frames, &stack.frames_at, then).iter().rev();
    let now = inlined(&thread.stack, &thread.frames_at, now).iter().rev();
    let same = then
        .zip(now)
        .take_while(|(then, now)| then.is_same_code(now));
    Some(shared + same.count())
}

/// What is inlined into the function that has a slot, innermost first.
fn inlined<'a>(frames: &'a [Frame], slots: &[FrameAddress], slot: usize) -> &'a [Frame] {
    let index = |slot: usize| slots.get(slot).map(|slot| slot.frame as usize);
    let from = slot
        .checked_sub(1)
        .map_or(Some(0), |inner| index(inner).map(|at| at + 1));
    let range = from.zip(index(slot)).map(|(from, to)| from..to);
    range
        .and_then(|range| frames.get(range))
        .unwrap_or_default()
}

impl<'a> ReportContext<'a> {
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
            // What has no function of the program at all shows none that returned.
            [] if (self.blamer)(&stack.frames).is_none() => Common::Unknown,
            [] => Common::Nothing,
            // The thread's own outermost function may well be its loop.
            [_] => Common::Outermost,
            _ => Common::Inside,
        }
    }

    /// The function that made the operation, through nobody's own code, and has called code of the program since that has
    /// not returned.
    pub(super) fn calls_another(
        &self,
        operation: LastOperation,
        thread: &Thread,
    ) -> Option<&'a Frame> {
        let stack = self.tracker.stack(operation.stack)?;
        let mut frames = stack.frames.iter().chain(&thread.stack);
        if stack.truncated || stack.one_of_several || frames.any(Frame::is_of_tasks) {
            return None;
        }
        // The functions of a runtime have no places of their own on the stack; which are there is known to the outermost.
        let ends_managed = |frames: &[Frame]| frames.last().is_some_and(Frame::is_managed);
        let by_name = || {
            let whole = ends_managed(&stack.frames) && ends_managed(&thread.stack);
            whole.then(|| shared_names(stack, thread)).flatten()
        };
        let shared = shared(operation, stack, thread).or_else(by_name)?;
        let then = stack.frames.len().checked_sub(shared)?;
        let now = thread.stack.len().checked_sub(shared)?;
        let made_it = self.blame(stack.frames.get(..then)?).is_none();
        // The call may be of another loop in turn, out of which nobody is blamed.
        let mut inside = thread.stack.get(..now)?.iter();
        let calls = made_it && inside.any(|frame| self.is_own(frame));
        stack.frames.get(then).filter(|_| calls)
    }

    /// A function of the program has entered another loop in a call of the one that made the operation.
    pub fn waits_in_another_loop(&self, operation: LastOperation, thread: &Thread) -> bool {
        matches!(self.waits.of(thread), WaitsFor::Set(_) | WaitsFor::Several)
            && (self.calls_another(operation, thread).is_some()
                || self.runtime_called(operation, thread))
    }

    /// The loop of a runtime made the operation, and executes a function of the program now: what lies between is not known,
    /// but the loop calls, and goes on when that has returned.
    fn runtime_called(&self, operation: LastOperation, thread: &Thread) -> bool {
        let stack = self.tracker.stack(operation.stack);
        let by_loop = stack.is_some_and(|stack| {
            let mut frames = stack.frames.iter();
            let whole = !stack.truncated && !stack.one_of_several && !stack.frames.is_empty();
            whole && frames.all(|frame| !frame.is_of_tasks() && !self.is_own(frame))
        });
        let mut now = thread.stack.iter();
        by_loop && now.any(|frame| frame.is_managed() && self.is_own(frame))
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
