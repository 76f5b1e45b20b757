//! What a running thread executes: where it was at many moments of its time on a CPU. All of them are past; what it
//! does at this moment they do not say.

use serde::{Deserialize, Serialize};

use super::stack::{Frame, FrameAddress};

/// A thread as it was sampled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Samples {
    pub tid: u32,
    /// When the thread began, as in [`super::input::Thread`]; 0 when unknown.
    pub began: u64,
    pub moments: Moments,
    /// Innermost first: the calls in which it was at nearly all moments; empty where there is no such call, or the stacks
    /// do not tell.
    pub stack: Vec<Frame>,
    /// Of these, the frames that lay in the same place and returned to the same place at every moment.
    pub frames_at: Vec<FrameAddress>,
}

/// When, and how often, a thread was seen on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moments {
    /// The first and the last, nanoseconds of `CLOCK_MONOTONIC`.
    pub from: u64,
    pub to: u64,
    pub count: u32,
    /// Of these, in the calls that are told.
    pub inside: u32,
}

impl Moments {
    /// In a second of a thread's time on a CPU; a prime number, so that nothing that is done at round times is always or
    /// never met.
    pub const FREQUENCY: u32 = 97;
    /// So many, half a second on a CPU, tell what a thread computes.
    pub const ENOUGH: u32 = 50;

    pub const fn are_enough(self) -> bool {
        self.count >= Self::ENOUGH
    }
}
