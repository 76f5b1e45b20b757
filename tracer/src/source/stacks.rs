//! Stack copies by key. A copy is kept as it came and named only when a stuck socket refers to it, and
//! only as far as its key is sure: further out there may be one of several callers. Later copies under
//! a key must agree all the same, and only the frames on which they agree are kept.

mod copy;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

use tracer_common::{
    event::StackCopy as Wire,
    stack_key,
    table::{OPERATION_RECV, OPERATION_SEND},
};

use crate::{
    model::stack::{FrameAddress, Stack},
    symbolize::{Noted, Symbolizer, Warning},
};
use copy::Copy;

pub const PAGE: usize = tracer_common::event::PAGE;

/// Copies kept: at most 20 KiB each, typically 2-8 KiB.
const MAX_COPIES: usize = 2048;
/// Those of one call each, which nobody may ever ask for.
const MAX_SINGLE: usize = 512;
/// Of one process, to know through what it reads and writes.
const MAX_NAMED_BESIDES: usize = 32;

enum Entry {
    Raw(Copy),
    /// Told already, but badly: the helper process that names failed.
    Failed(Copy),
    Named(Stack),
}

#[derive(Default)]
pub struct Stacks {
    entries: HashMap<u64, Entry>,
    order: VecDeque<u64>,
    /// Keys of one call each, oldest first.
    single: VecDeque<u64>,
    /// Keys forgotten to stay within the bound.
    pub evicted: u64,
}

impl Stacks {
    /// Keeps the copy, of which so many return addresses are `sure`. Returns the stack that is left when
    /// an already named key has another copy.
    pub fn add(
        &mut self,
        wire: &Wire,
        noted: Noted<'_>,
        sure: Option<u32>,
        symbolizer: &mut Symbolizer,
        warnings: &mut Vec<Warning>,
    ) -> Option<Stack> {
        let mut copy = Copy::of(wire, noted, sure);
        copy.identify(symbolizer);
        if stack_key::is_of_one_call(wire.key) {
            // Others like it, without a copy, are known by it as far as their key is sure.
            let mut shared = copy.clone();
            shared.sure = Some(stack_key::steps(wire.key));
            self.add_single(wire.key, copy);
            let of_any = stack_key::of_any_call(wire.key);
            if !self.entries.contains_key(&of_any) {
                self.insert(of_any, shared);
            }
            return None;
        }
        match self.entries.get_mut(&wire.key) {
            Some(Entry::Named(known)) => {
                let (again, failed) = copy.name(symbolizer, warnings);
                if failed {
                    return None;
                }
                let agreed = common(known, &again);
                let news = agreed != *known;
                *known = agreed;
                return news.then(|| known.clone());
            }
            Some(Entry::Raw(known) | Entry::Failed(known)) => known.replace(copy),
            None => self.insert(wire.key, copy),
        }
        None
    }

    fn insert(&mut self, key: u64, copy: Copy) {
        self.make_room();
        self.entries.insert(key, Entry::Raw(copy));
        self.order.push_back(key);
    }

    fn add_single(&mut self, key: u64, copy: Copy) {
        while self.single.len() >= MAX_SINGLE {
            let Some(oldest) = self.single.pop_front() else {
                break;
            };
            self.entries.remove(&oldest);
        }
        self.entries.insert(key, Entry::Raw(copy));
        self.single.push_back(key);
    }

    /// A socket that may be stuck refers to the key: its copy is kept longer than those of one call.
    pub fn keep(&mut self, key: u64) {
        if let Some(place) = self.single.iter().position(|single| *single == key) {
            self.single.remove(place);
            self.make_room();
            self.order.push_back(key);
        }
    }

    /// The named stack of `key`; `None` when there is no copy of it, or naming it failed again.
    pub fn name(
        &mut self,
        key: u64,
        symbolizer: &mut Symbolizer,
        warnings: &mut Vec<Warning>,
    ) -> Option<Stack> {
        let entry = self.entries.get_mut(&self.known_as(key))?;
        let copy = match &*entry {
            Entry::Raw(copy) | Entry::Failed(copy) => copy,
            Entry::Named(stack) => return Some(stack.clone()),
        };
        let (stack, failed) = copy.name(symbolizer, warnings);
        if !failed {
            *entry = Entry::Named(stack.clone());
        } else if let Entry::Raw(copy) = entry {
            *entry = Entry::Failed(mem::take(copy));
        } else {
            return None;
        }
        Some(stack)
    }

    /// The key itself, or where its own copy is gone that of all which agree with it as far as is sure.
    fn known_as(&self, key: u64) -> u64 {
        if self.entries.contains_key(&key) {
            key
        } else {
            stack_key::of_any_call(key)
        }
    }

    /// The process whose thread it was taken of.
    pub fn pid_of(&self, key: u64) -> Option<u32> {
        match self.entries.get(&self.known_as(key))? {
            Entry::Raw(copy) | Entry::Failed(copy) => Some(copy.pid),
            Entry::Named(stack) => stack.pid,
        }
    }

    /// Copies taken of the process that have no names yet.
    pub fn unnamed_of(&self, pid: u32) -> BTreeSet<u64> {
        let unnamed = |(key, entry): (&u64, &Entry)| match entry {
            Entry::Raw(copy) | Entry::Failed(copy) if copy.pid == pid => Some(*key),
            _ => None,
        };
        self.entries.iter().filter_map(unnamed).collect()
    }

    /// Where else these processes read and write, as far as it is not named: a bounded number of each.
    pub fn reads_and_writes_of(&self, pids: &BTreeSet<u32>) -> BTreeSet<u64> {
        let mut found: HashMap<u32, Vec<u64>> = HashMap::new();
        for (key, entry) in &self.entries {
            if let Entry::Raw(copy) = entry
                && (stack_key::is_whole(*key) || stack_key::is_of_one_call(*key))
                && matches!(copy.kind, OPERATION_RECV | OPERATION_SEND)
                && pids.contains(&copy.pid)
            {
                found.entry(copy.pid).or_default().push(*key);
            }
        }
        let some = found.into_values().flat_map(|mut keys| {
            keys.sort_unstable_by_key(|key| (!stack_key::is_whole(*key), *key));
            keys.truncate(MAX_NAMED_BESIDES);
            keys
        });
        some.collect()
    }

    /// Those that deserve another attempt.
    pub fn failed(&self) -> Vec<u64> {
        let failed = |(key, entry): (&u64, &Entry)| match entry {
            Entry::Failed(_) => Some(*key),
            Entry::Raw(_) | Entry::Named(_) => None,
        };
        let mut keys: Vec<u64> = self.entries.iter().filter_map(failed).collect();
        keys.sort_unstable();
        keys
    }

    fn make_room(&mut self) {
        while self.entries.len() >= MAX_COPIES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.entries.remove(&oldest);
            self.evicted += 1;
        }
    }
}

/// The innermost frames two stacks share; what lies further out is not known.
fn common(one: &Stack, other: &Stack) -> Stack {
    let frames: Vec<_> = one
        .frames
        .iter()
        .zip(&other.frames)
        .take_while(|(a, b)| a == b)
        .map(|(frame, _)| frame.clone())
        .collect();
    let agreed = |place: &&FrameAddress| {
        (place.frame as usize) < frames.len() && other.frames_at.contains(place)
    };
    let frames_at = one.frames_at.iter().filter(agreed).copied().collect();
    let whole = frames.len() == one.frames.len() && frames.len() == other.frames.len();
    Stack {
        truncated: !whole || one.truncated || other.truncated,
        one_of_several: !whole || one.one_of_several || other.one_of_several,
        frames,
        kind: one.kind.filter(|_| one.kind == other.kind),
        thread: one.thread.clone().filter(|_| one.thread == other.thread),
        pid: one.pid.filter(|_| one.pid == other.pid),
        frames_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::Frame;

    fn stack(names: &[&str]) -> Stack {
        let frame = |name: &&str| Frame {
            function: Some((*name).to_owned()),
            ..Frame::default()
        };
        Stack {
            frames: names.iter().map(frame).collect(),
            ..Stack::default()
        }
    }

    #[test]
    fn only_agreed_frames_survive_a_second_copy() {
        let left = common(
            &stack(&["recv", "handle", "a"]),
            &stack(&["recv", "handle", "b"]),
        );
        assert_eq!(left.frames, stack(&["recv", "handle"]).frames);
        assert!(left.truncated);
        let same = stack(&["recv", "handle"]);
        assert_eq!(common(&same, &same), same);
    }
}
