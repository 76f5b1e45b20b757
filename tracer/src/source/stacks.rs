//! Stack copies by key. A copy is kept as it came and named only when a stuck socket refers to it;
//! later copies under the same key must agree, and only the frames on which they agree are kept.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    mem,
};

use tracer_common::event::StackCopy as Wire;

use super::wire::comm;
use crate::{
    model::stack::Stack,
    symbolize::{StackCopy, Symbolizer, Warning},
};

pub const PAGE: usize = tracer_common::event::PAGE;

/// Copies kept: at most 20 KiB each, typically 2-8 KiB.
const MAX_COPIES: usize = 2048;

#[derive(Default)]
struct Copy {
    pid: u32,
    start_boot: u64,
    pc: u64,
    sp: u64,
    fp: u64,
    lr: u64,
    comm: String,
    bytes: Box<[u8]>,
}

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
    /// Keys forgotten to stay within the bound.
    pub evicted: u64,
}

impl Stacks {
    /// Keeps the copy. Returns the stack that is left when an already named key has another copy.
    pub fn add(
        &mut self,
        wire: &Wire,
        symbolizer: &mut Symbolizer,
        warnings: &mut Vec<Warning>,
    ) -> Option<Stack> {
        let copy = Copy {
            pid: wire.tgid,
            start_boot: wire.start_boot,
            pc: wire.pc,
            sp: wire.sp,
            fp: wire.fp,
            lr: wire.lr,
            comm: comm(&wire.comm),
            bytes: wire.bytes().into(),
        };
        match self.entries.get_mut(&wire.key) {
            Some(Entry::Named(known)) => {
                let (again, failed) = name(&copy, symbolizer, warnings);
                if failed {
                    return None;
                }
                let agreed = common(known, &again);
                let news = agreed != *known;
                *known = agreed;
                return news.then(|| known.clone());
            }
            Some(raw @ Entry::Raw(_)) => *raw = Entry::Raw(copy),
            Some(failed @ Entry::Failed(_)) => *failed = Entry::Failed(copy),
            None => {
                self.make_room();
                self.entries.insert(wire.key, Entry::Raw(copy));
                self.order.push_back(wire.key);
            }
        }
        None
    }

    /// Names the stack of `key`; `None` when there is nothing new to say about it.
    pub fn name(
        &mut self,
        key: u64,
        symbolizer: &mut Symbolizer,
        warnings: &mut Vec<Warning>,
    ) -> Option<Stack> {
        let entry = self.entries.get_mut(&key)?;
        let (Entry::Raw(copy) | Entry::Failed(copy)) = &*entry else {
            return None;
        };
        let (stack, failed) = name(copy, symbolizer, warnings);
        if !failed {
            *entry = Entry::Named(stack.clone());
        } else if let Entry::Raw(copy) = entry {
            *entry = Entry::Failed(mem::take(copy));
        } else {
            return None;
        }
        Some(stack)
    }

    /// The process whose thread it was taken of.
    pub fn pid_of(&self, key: u64) -> Option<u32> {
        match self.entries.get(&key)? {
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

/// And whether the helper process failed.
fn name(copy: &Copy, symbolizer: &mut Symbolizer, warnings: &mut Vec<Warning>) -> (Stack, bool) {
    let resolved = symbolizer.resolve(&StackCopy {
        pid: copy.pid,
        start_boot_ns: copy.start_boot,
        pc: copy.pc,
        sp: copy.sp,
        fp: copy.fp,
        lr: copy.lr,
        thread: 0,
        bytes: &copy.bytes,
    });
    warnings.extend(resolved.warnings);
    let stack = Stack {
        thread: Some(copy.comm.clone()),
        pid: Some(copy.pid),
        ..resolved.stack
    };
    (stack, resolved.failed)
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
    let whole = frames.len() == one.frames.len() && frames.len() == other.frames.len();
    Stack {
        truncated: !whole || one.truncated || other.truncated,
        frames,
        thread: one.thread.clone().filter(|_| one.thread == other.thread),
        pid: one.pid.filter(|_| one.pid == other.pid),
        frames_at: Vec::new(),
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
            truncated: false,
            thread: None,
            pid: None,
            frames_at: Vec::new(),
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
