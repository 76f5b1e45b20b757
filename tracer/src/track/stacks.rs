//! Named stacks by key. Kept while a socket or a count refers to them, and for a while longer, since the next
//! socket that gets stuck was mostly opened at the same place.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::stack::Stack;

/// How long a stack is kept that nothing refers to: ten minutes.
const UNUSED: u64 = 600_000_000_000;
/// Stacks of about 8 KiB each.
pub const KEPT: usize = 16_384;

#[derive(Debug)]
struct Kept {
    stack: Stack,
    used: u64,
}

#[derive(Debug, Default)]
pub struct Stacks {
    by_key: BTreeMap<u64, Kept>,
    pub refused: u64,
}

impl Stacks {
    pub fn learn(&mut self, key: u64, stack: Stack, now: u64) {
        if self.by_key.len() >= KEPT && !self.by_key.contains_key(&key) {
            self.refused += 1;
            return;
        }
        self.by_key.insert(key, Kept { stack, used: now });
    }

    pub fn get(&self, key: u64) -> Option<&Stack> {
        self.by_key.get(&key).map(|kept| &kept.stack)
    }

    /// In the order of their keys.
    pub fn all(&self) -> impl Iterator<Item = &Stack> {
        self.by_key.values().map(|kept| &kept.stack)
    }

    pub fn sweep(&mut self, asked: &BTreeSet<u64>, now: u64) {
        let full = self.by_key.len() >= KEPT;
        self.by_key.retain(|key, kept| {
            if asked.contains(key) {
                kept.used = now;
            }
            let unused = now.saturating_sub(kept.used);
            unused == 0 || (unused < UNUSED && !full)
        });
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }
}
