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
    runtime::MANAGED_CUT,
    stack_key,
    table::{OPERATION_RECV, OPERATION_SEND},
};

use crate::{
    model::stack::{FrameAddress, Stack},
    symbolize::{Noted, Symbolizer, Warning},
};
use copy::Copy;

pub const PAGE: usize = tracer_common::event::PAGE;

/// Copies and names kept: at most 20 KiB each, typically 2-8 KiB.
const MAX_COPIES: usize = 2048;
/// What all of them may take.
const MAX_BYTES: usize = 16 << 20;
/// Of a frame with its names, and of what else comes with a copy.
const FRAME_BYTES: usize = 256;
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

impl Entry {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Raw(copy) | Self::Failed(copy) => Some(copy.pid),
            Self::Named(stack) => stack.pid,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Raw(copy) | Self::Failed(copy) => copy.bytes(),
            Self::Named(stack) => stack.frames.len() * FRAME_BYTES,
        }
    }
}

#[derive(Default)]
pub struct Stacks {
    entries: HashMap<u64, Entry>,
    /// What they take, about.
    bytes: usize,
    order: VecDeque<u64>,
    /// The same of processes that have ended, those first that ended first: they make room before others do, for the
    /// kernel program sends a living one's not again for a minute.
    orphans: VecDeque<u64>,
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
            shared.is_shared(stack_key::steps(wire.key), wire.managed == MANAGED_CUT);
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
                self.bytes -= known.frames.len().saturating_sub(agreed.frames.len()) * FRAME_BYTES;
                *known = agreed;
                return news.then(|| known.clone());
            }
            Some(Entry::Raw(known) | Entry::Failed(known)) => {
                self.bytes -= known.bytes();
                known.replace(copy);
                self.bytes += known.bytes();
            }
            None => self.insert(wire.key, copy),
        }
        None
    }

    fn insert(&mut self, key: u64, copy: Copy) {
        self.put(key, Entry::Raw(copy));
        self.order.push_back(key);
        self.make_room();
    }

    fn put(&mut self, key: u64, entry: Entry) {
        self.bytes += entry.bytes();
        self.remove(key);
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: u64) {
        self.bytes -= self.entries.remove(&key).map_or(0, |gone| gone.bytes());
    }

    fn add_single(&mut self, key: u64, copy: Copy) {
        while self.single.len() >= MAX_SINGLE {
            let Some(oldest) = self.single.pop_front() else {
                break;
            };
            self.remove(oldest);
        }
        self.put(key, Entry::Raw(copy));
        self.single.push_back(key);
        self.make_room();
    }

    /// A socket that may be stuck refers to the key: its copy is kept longer than those of one call.
    pub fn keep(&mut self, key: u64) {
        if let Some(place) = self.single.iter().position(|single| *single == key) {
            self.single.remove(place);
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
            self.bytes -= entry.bytes();
            *entry = Entry::Named(stack.clone());
            self.bytes += entry.bytes();
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
        self.entries.get(&self.known_as(key))?.pid()
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

    /// All that it did has been taken in.
    pub fn process_ended(&mut self, pid: u32) {
        let entries = &self.entries;
        let orphans = &mut self.orphans;
        self.order.retain(|key| {
            let is_its = entries
                .get(key)
                .is_some_and(|entry| entry.pid() == Some(pid));
            if is_its {
                orphans.push_back(*key);
            }
            !is_its
        });
    }

    /// The oldest go; those of one call, of which there are few, last.
    fn make_room(&mut self) {
        while self.entries.len() > MAX_COPIES || self.bytes > MAX_BYTES {
            let oldest = self.orphans.pop_front();
            let oldest = oldest.or_else(|| self.order.pop_front());
            let Some(oldest) = oldest.or_else(|| self.single.pop_front()) else {
                return;
            };
            self.remove(oldest);
            self.evicted += 1;
        }
    }

    pub fn remembered(&self) -> [(&'static str, usize); 2] {
        [
            ("stack_copies", self.entries.len()),
            ("stack_copy_bytes", self.bytes),
        ]
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
        of_end: one.of_end && other.of_end,
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

    fn copied(key: u64) -> Copy {
        Copy::of_bytes(key as u32, &[0; 5000])
    }

    #[test]
    fn copies_of_a_month_take_no_more_than_the_bound_and_what_goes_is_counted() {
        let mut stacks = Stacks::default();
        let sum = |stacks: &Stacks| stacks.entries.values().map(Entry::bytes).sum::<usize>();
        for key in 0..200_000 {
            if key % 3 == 0 {
                stacks.add_single(key, copied(key));
            } else {
                stacks.insert(key, copied(key));
            }
            if key % 30 == 0 {
                stacks.keep(key);
            }
            assert!(stacks.bytes <= MAX_BYTES && stacks.entries.len() <= MAX_COPIES);
        }
        assert_eq!(stacks.bytes, sum(&stacks));
        assert!(stacks.orphans.is_empty());
        assert_eq!(
            stacks.order.len() + stacks.single.len(),
            stacks.entries.len()
        );
        assert!(stacks.evicted > 100_000, "{}", stacks.evicted);
        // The newest are there.
        assert!(stacks.entries.contains_key(&199_999));
    }

    #[test]
    fn what_a_living_process_did_outlives_thousands_of_programs_of_a_moment() {
        let mut stacks = Stacks::default();
        stacks.insert(1, copied(1));
        for key in 10..10_000 {
            stacks.insert(key, copied(key));
            stacks.process_ended(key as u32);
        }
        assert_eq!(stacks.pid_of(1), Some(1));
        assert!(stacks.entries.len() <= MAX_COPIES && stacks.entries.len() > MAX_COPIES - 2);
        assert_eq!(
            stacks.order.len() + stacks.orphans.len(),
            stacks.entries.len()
        );
        // What has just ended can still be asked for.
        assert_eq!(stacks.pid_of(9_999), Some(9_999));
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
