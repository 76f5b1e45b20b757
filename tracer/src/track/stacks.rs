//! Named stacks by key. Kept while a socket or a count refers to them. Those of a process that still has sockets here
//! are kept for a while longer, since the next one that gets stuck was mostly opened at the same place; a process
//! that is gone opens none, and its keys are its own.

use std::collections::BTreeMap;

use foldhash::HashSet;

use crate::model::stack::Stack;

/// How long a stack is kept that nothing refers to: ten minutes.
const UNUSED: u64 = 600_000_000_000;
/// Stacks, and frames of all of them at about 250 bytes each: 32 MiB.
pub const KEPT: usize = 16_384;
pub const FRAMES: usize = 131_072;

#[derive(Debug)]
struct Kept {
    stack: Stack,
    used: u64,
}

#[derive(Debug, Default)]
pub struct Stacks {
    by_key: BTreeMap<u64, Kept>,
    frames: usize,
    pub refused: u64,
}

impl Stacks {
    pub fn learn(&mut self, key: u64, stack: Stack, now: u64) {
        let before = self.by_key.get(&key);
        let before = before.map_or(0, |known| known.stack.frames.len());
        let frames = self.frames - before + stack.frames.len();
        if frames > FRAMES || (self.by_key.len() >= KEPT && !self.by_key.contains_key(&key)) {
            self.refused += 1;
            return;
        }
        self.frames = frames;
        self.by_key.insert(key, Kept { stack, used: now });
    }

    pub fn get(&self, key: u64) -> Option<&Stack> {
        self.by_key.get(&key).map(|kept| &kept.stack)
    }

    /// In the order of their keys.
    pub fn all(&self) -> impl Iterator<Item = &Stack> {
        self.by_key.values().map(|kept| &kept.stack)
    }

    /// `has_sockets` says of a process whether sockets that are followed lead to it.
    pub fn sweep(&mut self, asked: &HashSet<u64>, has_sockets: impl Fn(u32) -> bool, now: u64) {
        // Before it is full: what comes next should find room.
        let full = self.by_key.len() >= KEPT / 4 * 3 || self.frames >= FRAMES / 4 * 3;
        self.by_key.retain(|key, kept| {
            if asked.contains(key) {
                kept.used = now;
                return true;
            }
            let unused = now.saturating_sub(kept.used);
            !full && unused < UNUSED && kept.stack.pid.is_none_or(&has_sockets)
        });
        let stacks = self.by_key.values();
        self.frames = stacks.map(|kept| kept.stack.frames.len()).sum();
    }

    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn frames(&self) -> usize {
        self.frames
    }
}
