//! From sampled registers and stacks to the calls that a running thread is in: each sample is unwound and named as the
//! stack of a waiting thread is, and what nearly all of them share from outside is told. All of it is past, so what a
//! language runtime executed is told only as far as it was noted at the moment itself (`functions`).

mod functions;

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use crate::{
    model::{
        samples::{Moments, Samples},
        stack::{Frame, FrameAddress, Stack},
    },
    probe::samples::Sample,
    symbolize::{Noted, StackCopy, Symbolizer},
};
pub use functions::Functions;

/// A function in which a thread was at nine of ten moments is one it is in: signals and calls of a moment lie between.
const NEARLY_ALL: (usize, usize) = (9, 10);
/// For the stacks of one round; what is not named by then stays a number.
const PATIENCE: Duration = Duration::from_secs(2);

/// A thread that was sampled, and of which process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thread {
    pub pid: u32,
    /// Of the process, `CLOCK_BOOTTIME` nanoseconds.
    pub start_boot: u64,
    pub tid: u32,
    /// Of the thread, as in the model.
    pub began: u64,
}

/// Names the samples of each thread. `None` of those of which there are none.
pub fn named(
    sampled: &[(Thread, Vec<Sample>)],
    functions: &mut Functions,
    symbolizer: &mut Symbolizer,
) -> Vec<(Thread, Samples)> {
    let began = Instant::now();
    let of = |(thread, samples): &(Thread, Vec<Sample>)| {
        let first = samples.first()?;
        let last = samples.last()?;
        functions.name_again(*thread, samples, symbolizer);
        let mut stacks = Vec::new();
        for sample in samples {
            if began.elapsed() > PATIENCE {
                stacks.clear();
                break;
            }
            stacks.extend(whole(*thread, sample, functions, symbolizer));
        }
        let shared = shared(&stacks, samples.len());
        tracing::debug!(
            tid = thread.tid,
            whole = stacks.len(),
            of = samples.len(),
            frames = shared.frames.len(),
            inside = shared.moments,
            "named the stacks of a thread that runs"
        );
        let told = Samples {
            tid: thread.tid,
            began: thread.began,
            moments: Moments {
                from: first.at,
                to: last.at,
                count: samples.len() as u32,
                inside: shared.moments as u32,
            },
            stack: shared.frames,
            frames_at: shared.frames_at,
        };
        Some((*thread, told))
    };
    sampled.iter().filter_map(of).collect()
}

/// With absolute places; `None` where callers are missing, or may be others.
fn whole(
    thread: Thread,
    sample: &Sample,
    functions: &mut Functions,
    symbolizer: &mut Symbolizer,
) -> Option<Stack> {
    if functions.is_in_java(thread.pid, sample.pc) {
        return functions.in_java(thread, sample).map(of_frames);
    }
    if functions.is_in_javascript(thread, sample.at) {
        let frames = functions.in_javascript(thread, sample.at, symbolizer);
        return frames.map(of_frames);
    }
    let noted = functions.at(thread.tid, sample.at);
    let copy = StackCopy {
        pid: thread.pid,
        start_boot_ns: thread.start_boot,
        pc: sample.pc,
        sp: sample.sp,
        fp: sample.fp,
        lr: sample.lr,
        // The moment has passed.
        thread: 0,
        first_thread: false,
        noted,
        bytes: &sample.stack,
        walked: &[],
        sure: None,
    };
    let resolved = symbolizer.resolve(&copy);
    let mut stack = resolved.stack;
    for place in &mut stack.frames_at {
        place.cfa = place.cfa.wrapping_add(sample.sp);
    }
    match noted {
        Noted::Sampled { deeper, .. } => {
            let told = resolved.functions?;
            if deeper || !functions.are_sure(thread.pid, &told) {
                return None;
            }
            // The native frames end where the interpreter's begin, and there may be none.
            stack.frames.retain(|frame| frame.module.is_some());
            stack.truncated = false;
            if stack.frames.iter().any(is_made) {
                return None;
            }
            let frames = told.functions.into_iter().map(|one| one.frame);
            stack.frames.extend(frames);
        }
        Noted::Unread => return None,
        _ if stack.frames.iter().any(is_made) => return None,
        _ => {}
    }
    let exact = !stack.truncated && !stack.one_of_several;
    exact.then_some(stack)
}

fn of_frames(frames: Vec<Frame>) -> Stack {
    Stack {
        frames,
        ..Stack::default()
    }
}

/// Code that a runtime made or interprets: only its structures tell what it is, and they have changed since.
fn is_made(frame: &Frame) -> bool {
    const FIXED: [&str; 2] = ["[vdso]", "[vsyscall]"];
    let module = frame.module.as_deref().unwrap_or("[");
    module.starts_with('[') && !FIXED.contains(&module)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Shared {
    frames: Vec<Frame>,
    frames_at: Vec<FrameAddress>,
    moments: usize,
}

/// The calls that nearly all of so many moments have in common, from outside.
fn shared(stacks: &[Stack], moments: usize) -> Shared {
    let (part, of) = NEARLY_ALL;
    let is_nearly_all = |count: usize| count * of >= moments * part;
    let mut inside: Vec<&Stack> = stacks.iter().collect();
    let mut frames = Vec::new();
    while is_nearly_all(inside.len()) && !inside.is_empty() {
        let depth = frames.len();
        let mut by_function: BTreeMap<Function<'_>, Vec<&Stack>> = BTreeMap::new();
        for stack in &inside {
            if let Some(frame) = outer(stack, depth) {
                by_function.entry(function(frame)).or_default().push(stack);
            }
        }
        let most = by_function.into_values().max_by_key(Vec::len);
        let Some(most) = most.filter(|most| is_nearly_all(most.len())) else {
            break;
        };
        frames.extend(telling(&most, depth));
        inside = most;
    }
    if frames.is_empty() {
        return Shared::default();
    }
    frames.reverse();
    Shared {
        frames_at: places(stacks, &inside, frames.len()),
        moments: inside.len(),
        frames,
    }
}

/// What a frame is called, and where it is where it has no name. A function of a runtime is of its file.
type Function<'a> = (
    Option<&'a str>,
    Option<&'a str>,
    Option<u64>,
    Option<&'a str>,
);

fn function(frame: &Frame) -> Function<'_> {
    let name = frame.function.as_deref();
    let place = name.is_none().then_some(frame.offset);
    let file = frame.file.as_deref().filter(|_| frame.is_managed());
    (frame.module.as_deref(), name, place, file)
}

fn outer(stack: &Stack, depth: usize) -> Option<&Frame> {
    stack.frames.iter().rev().nth(depth)
}

/// One frame for those of all: where they are at one place most often, and at no line unless all are.
fn telling(stacks: &[&Stack], depth: usize) -> Option<Frame> {
    let all: Vec<&Frame> = stacks.iter().filter_map(|one| outer(one, depth)).collect();
    let mut counts: BTreeMap<&Frame, usize> = BTreeMap::new();
    for frame in &all {
        *counts.entry(frame).or_default() += 1;
    }
    let (most, _) = counts.iter().max_by_key(|(_, count)| **count)?;
    let one_line = all.iter().all(|frame| frame.line == most.line);
    Some(Frame {
        line: most.line.filter(|_| one_line),
        ..(*most).clone()
    })
}

/// The places that were taken by the same frame at every moment; numbered as the shared frames are.
fn places(all: &[Stack], inside: &[&Stack], frames: usize) -> Vec<FrameAddress> {
    let Some(first) = inside.first() else {
        return Vec::new();
    };
    let slot = |place: &FrameAddress| (place.cfa, place.return_address);
    let sets: Vec<HashSet<(u64, u64)>> = all
        .iter()
        .map(|stack| stack.frames_at.iter().map(slot).collect())
        .collect();
    let left_off = first.frames.len().saturating_sub(frames) as u32;
    let outward = first.frames_at.iter().rev();
    let mut places: Vec<FrameAddress> = outward
        .take_while(|place| sets.iter().all(|set| set.contains(&slot(place))))
        .filter_map(|place| {
            let frame = place.frame.checked_sub(left_off)?;
            Some(FrameAddress { frame, ..*place })
        })
        .collect();
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, offset: u64) -> Frame {
        Frame {
            function: Some(function.to_owned()),
            module: Some("server".to_owned()),
            offset,
            line: Some(offset as u32),
            ..Frame::default()
        }
    }

    /// From the inside out; each 32 bytes above the one it called.
    fn stack(functions: &[(&str, u64)]) -> Stack {
        let frames: Vec<Frame> = functions
            .iter()
            .map(|(name, at)| frame(name, *at))
            .collect();
        let depth = frames.len() as u64;
        let place = |at: usize| FrameAddress {
            frame: at as u32,
            cfa: 0x9000 - 32 * (depth - 1 - at as u64),
            return_address: functions.get(at + 1).map_or(0, |(_, offset)| *offset),
        };
        Stack {
            frames_at: (0..frames.len()).map(place).collect(),
            frames,
            ..Stack::default()
        }
    }

    fn names(shared: &Shared) -> Vec<&str> {
        let names = shared.frames.iter();
        names
            .filter_map(|frame| frame.function.as_deref())
            .collect()
    }

    #[test]
    fn what_nearly_all_moments_share_is_told() {
        let mut stacks = vec![stack(&[("hash", 7), ("compute", 5), ("handle", 3), ("main", 1)]); 6];
        stacks.extend(vec![
            stack(&[("compute", 6), ("handle", 3), ("main", 1)]);
            4
        ]);
        let found = shared(&stacks, 10);
        assert_eq!(names(&found), ["compute", "handle", "main"]);
        assert_eq!(found.moments, 10);
        // Most often at 5, and at no one line.
        assert_eq!((found.frames[0].offset, found.frames[0].line), (5, None));
        assert_eq!(found.frames[1].line, Some(3));
        let slots: Vec<(u32, u64)> = found
            .frames_at
            .iter()
            .map(|one| (one.frame, one.cfa))
            .collect();
        assert_eq!(slots, [(0, 0x9000 - 64), (1, 0x9000 - 32), (2, 0x9000)]);
    }

    #[test]
    fn one_moment_of_ten_elsewhere_takes_no_name_but_the_places() {
        let mut stacks = vec![stack(&[("compute", 5), ("handle", 3), ("main", 1)]); 9];
        stacks.push(stack(&[("poll", 4), ("main", 2)]));
        let found = shared(&stacks, 10);
        assert_eq!(names(&found), ["compute", "handle", "main"]);
        assert_eq!(found.moments, 9);
        // The call was over at that moment: what lay in its place before and after may be two.
        let places: Vec<u32> = found.frames_at.iter().map(|one| one.frame).collect();
        assert_eq!(places, [2]);
        stacks.push(stack(&[("poll", 4), ("main", 2)]));
        assert_eq!(names(&shared(&stacks, 11)), ["main"]);
    }

    #[test]
    fn nothing_is_told_where_the_stacks_of_many_moments_are_not_whole() {
        let stacks = vec![stack(&[("compute", 5), ("main", 1)]); 8];
        assert_eq!(shared(&stacks, 10), Shared::default());
        assert_eq!(shared(&[], 0), Shared::default());
        assert!(!names(&shared(&stacks, 8)).is_empty());
    }

    /// In a loop of one function without a name only the address says that it is the same.
    #[test]
    fn functions_without_a_name_are_told_apart_by_their_address() {
        let nameless = |offset: u64| {
            let mut one = stack(&[("", offset), ("main", 1)]);
            one.frames[0].function = None;
            one
        };
        let two = [nameless(5), nameless(6)];
        assert_eq!(names(&shared(&two, 2)), ["main"]);
        assert_eq!(shared(&[nameless(5), nameless(5)], 2).frames.len(), 2);
    }

    #[test]
    fn code_that_a_runtime_made_is_not_told() {
        let of = |module: Option<&str>| Frame {
            module: module.map(str::to_owned),
            ..Frame::default()
        };
        assert!(is_made(&of(Some("[jit]"))) && is_made(&of(None)));
        assert!(!is_made(&of(Some("[vdso]"))) && !is_made(&of(Some("server"))));
    }
}
