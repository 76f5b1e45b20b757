//! The goroutines of a Go program as its runtime lists them: what crosses from the helper, and its bounds.

use serde::{Deserialize, Serialize};

use super::message::are_plausible;
use super::{StackCopy, Symbolizer};
use crate::model::input::ProcessKey;
use crate::model::stack::{Frame, FrameAddress};

/// Goroutines that are told of one process, and those of them whose stacks are read.
pub(super) const MAX_TOLD: usize = 16_384;
pub(super) const MAX_WALKED: usize = 2048;
/// Different stacks of them, and frames of all of these.
pub(super) const MAX_STACKS: usize = 512;
pub(super) const MAX_FRAMES: usize = 16_384;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goroutines {
    pub goroutines: Vec<Goroutine>,
    /// Each once, however many goroutines wait there, or were started there.
    pub stacks: Vec<WaitingPlace>,
    /// There are no others, and of all that wait the stack is known.
    pub all: bool,
    /// Threads that are the runtime's own and run no goroutine now.
    pub idle_threads: Vec<u32>,
}

/// Where goroutines wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingPlace {
    pub frames: Vec<Frame>,
    /// Counted from the end of the stack, wrapping.
    pub frames_at: Vec<FrameAddress>,
    pub truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goroutine {
    pub id: u64,
    pub running: Running,
    /// Place in the list of stacks.
    pub stack: Option<u32>,
    /// The descriptor for which the runtime's poller will wake it.
    pub waits_for: Option<i32>,
    /// It has waited since then at least, by `CLOCK_MONOTONIC`; 0 when unknown.
    pub since: u64,
    /// The id of the goroutine that started it; 0 when unknown, as before Go 1.21.
    pub creator: u64,
    /// Place in the list of stacks: the functions in which that was done.
    pub created_in: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Running {
    /// For something of the runtime, and did all the time while it was looked at.
    Waits,
    /// In a system call or C code on this thread.
    OnThread(u32),
    /// It runs, is ready to run, or moved while it was looked at.
    Moves,
}

impl Goroutines {
    pub(super) fn is_plausible(&self) -> bool {
        let in_list =
            |stack: Option<u32>| stack.is_none_or(|stack| (stack as usize) < self.stacks.len());
        let frames: usize = self.stacks.iter().map(|stack| stack.frames.len()).sum();
        self.goroutines.len() <= MAX_TOLD
            && self.stacks.len() <= MAX_STACKS
            && frames <= MAX_FRAMES
            && self.stacks.iter().all(|stack| {
                let inside = |place: &FrameAddress| (place.frame as usize) < stack.frames.len();
                are_plausible(&stack.frames) && stack.frames_at.iter().all(inside)
            })
            && self
                .goroutines
                .iter()
                .all(|one| in_list(one.stack) && in_list(one.created_in))
    }
}

impl Symbolizer {
    /// All goroutines of a Go program; `None` when it is none, or they cannot be read now.
    pub fn goroutines(
        &mut self,
        process: ProcessKey,
        threads: &[(u32, u64)],
        asked: &[u64],
    ) -> Option<Goroutines> {
        let copy = StackCopy::of_nothing(process);
        self.prepare(&copy).ok()?;
        let known = self.processes.get(&process.pid)?;
        self.link.goroutines(&known.process, threads, asked).ok()?
    }
}
