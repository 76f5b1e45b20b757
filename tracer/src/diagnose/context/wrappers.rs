//! Functions that only read for others. The innermost function of the program in nearly all its reads, called
//! from at least two of its own places, says nothing about which of them forgot a connection.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashSet};

use super::{Blamer, threads::operations};
use crate::{
    model::{
        socket::SocketOperation,
        stack::{Frame, Stack},
    },
    track::Tracker,
};

/// Of ten reads, so many go through it.
const NEARLY_ALL: usize = 9;
/// Fewer different reads say nothing.
const FEWEST: usize = 3;

pub fn find<'a>(tracker: &'a Tracker, blamer: Blamer<'_>) -> HashSet<(&'a str, &'a str)> {
    let mut seen = HashSet::default();
    let mut reads: BTreeMap<u32, BTreeMap<u64, &'a Stack>> = BTreeMap::new();
    let live = tracker.activity().iter().map(|live| &live.history);
    let stuck = tracker.sockets().map(|socket| &*socket.history);
    for read in live.chain(stuck).flat_map(operations) {
        if read.kind == SocketOperation::Recv
            && seen.insert((read.pid, read.stack))
            && let Some(stack) = tracker.stack(read.stack)
        {
            let of_process = reads.entry(read.pid).or_default();
            of_process.insert(read.stack, stack);
        }
    }
    let mut wrappers = HashSet::default();
    for stacks in reads.values() {
        wrappers.extend(of_process(stacks, blamer));
    }
    wrappers
}

fn of_process<'a>(
    stacks: &BTreeMap<u64, &'a Stack>,
    blamer: Blamer<'_>,
) -> Option<(&'a str, &'a str)> {
    let mut innermost: HashMap<(&str, &str), Vec<&[Frame]>> = HashMap::default();
    for stack in stacks.values() {
        let Some(at) = blamer(&stack.frames) else {
            continue;
        };
        if let Some(name) = stack.frames.get(at).and_then(name) {
            let outer = stack.frames.get(at + 1..).unwrap_or_default();
            innermost.entry(name).or_default().push(outer);
        }
    }
    let (name, callers) = innermost
        .into_iter()
        .max_by_key(|(_, callers)| callers.len())?;
    let callers_of: HashSet<(Option<&str>, u64)> = callers
        .iter()
        .filter_map(|outer| outer.get(blamer(outer)?))
        .map(|frame| (frame.function.as_deref(), frame.offset))
        .collect();
    let functions: HashSet<Option<&str>> =
        callers_of.iter().map(|(function, _)| *function).collect();
    let nearly_all = callers.len() * 10 >= stacks.len() * NEARLY_ALL;
    (callers.len() >= FEWEST && nearly_all && functions.len() > 1).then_some(name)
}

fn name(frame: &Frame) -> Option<(&str, &str)> {
    Some((frame.module.as_deref()?, frame.function.as_deref()?))
}

pub fn has(wrappers: &HashSet<(&str, &str)>, frame: &Frame) -> bool {
    name(frame).is_some_and(|name| wrappers.contains(&name))
}
