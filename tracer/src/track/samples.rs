//! What running threads were sampled to do, for as long as each is seen to run on: a thread that waited since may do
//! anything else by now.

use std::collections::BTreeMap;

use crate::model::{input::Thread, samples::Samples};

/// Two moments at which a thread began are one: /proc and the kernel round differently.
const SAME: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(super) struct AllSamples {
    /// With their processes.
    by_tid: BTreeMap<u32, (u32, Samples)>,
}

impl AllSamples {
    pub(super) fn learn(&mut self, pid: u32, samples: Samples) {
        self.by_tid.insert(samples.tid, (pid, samples));
    }

    /// Keeps those of which this is true: process and thread.
    pub(super) fn retain(&mut self, keep: impl Fn(u32, u32) -> bool) {
        self.by_tid.retain(|tid, (pid, _)| keep(*pid, *tid));
    }

    pub(super) fn len(&self) -> usize {
        self.by_tid.len()
    }

    /// Adds to a thread that runs what it was sampled to do since then, until some moment lately.
    pub(super) fn add(&self, pid: u32, thread: &mut Thread, since: u64, lately: u64) {
        let Some((_, samples)) = self.by_tid.get(&thread.tid).filter(|(of, _)| *of == pid) else {
            return;
        };
        let began = [thread.began, samples.began];
        let is_same = began.contains(&0) || thread.began.abs_diff(samples.began) < SAME;
        let moments = samples.moments;
        if !is_same || since > moments.from || lately > moments.to {
            return;
        }
        let Some(inner) = samples.stack.first() else {
            thread.sampled = Some(moments);
            return;
        };
        // One that waits for a CPU has a stack of this moment. It may have left what it was in.
        let is_there = thread.stack.iter().any(|frame| frame.is_same_code(inner));
        if thread.stack.is_empty() || is_there {
            thread.sampled = Some(moments);
            thread.stack.clone_from(&samples.stack);
            thread.frames_at.clone_from(&samples.frames_at);
        }
    }
}
