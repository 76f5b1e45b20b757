//! Where a runtime's threads keep the pointer to their state: found by what the runtime's own list of threads says, so no
//! code is disassembled and no C library's layout is known.

use std::cmp::Reverse;

use super::memory::{Memory, PAGE};

pub(super) const MAX_THREADS: usize = 8192;
/// Threads by which the place is found out.
const MAX_SAMPLES: usize = 64;
/// The C library's record of a thread begins at the thread pointer, and its thread-specific data is in it.
const RECORD: usize = 4096;
/// Thread-local variables of a program and the libraries it was started with lie below it (on arm64 above).
const VARIABLES: u64 = 8192;

/// The distance from the thread pointer at which every thread has its own state. A thread that is about to
/// start or end may not have it, so one in eight may differ.
pub(super) fn place_of_state(memory: &mut Memory<'_>, states: &[(u64, u64)]) -> Option<u64> {
    let samples = states.get(..MAX_SAMPLES).unwrap_or(states);
    memory.want(samples.iter().map(|(thread, _)| *thread));
    elected(samples, |thread| Some((0, readable(memory, thread)?)))
}

/// The same, also below the thread pointer: the distance wraps then.
pub(super) fn place_near(memory: &mut Memory<'_>, states: &[(u64, u64)]) -> Option<u64> {
    let samples = states.get(..MAX_SAMPLES).unwrap_or(states);
    memory.want(samples.iter().map(|(thread, _)| *thread));
    elected(samples, |thread| {
        let mut around = Vec::new();
        let page = thread & !(PAGE - 1);
        let begin = page.checked_sub(VARIABLES)?;
        for at in (begin..page.checked_add(2 * PAGE)?).step_by(PAGE as usize) {
            // What is not there cannot be the place.
            let bytes = memory.bytes(at, PAGE as usize);
            around.extend(bytes.unwrap_or_else(|| vec![0; PAGE as usize]));
        }
        Some((thread - begin, around))
    })
}

/// `read` gives memory around a thread pointer, and how much of it lies below.
fn elected(
    samples: &[(u64, u64)],
    mut read: impl FnMut(u64) -> Option<(u64, Vec<u8>)>,
) -> Option<u64> {
    let mut votes: Vec<(i64, usize)> = Vec::new();
    let mut asked = 0;
    for (thread, state) in samples {
        let Some((below, bytes)) = read(*thread) else {
            continue;
        };
        asked += 1;
        let words = bytes.as_chunks::<8>().0.iter().enumerate();
        for (number, _) in words.filter(|(_, word)| u64::from_le_bytes(**word) == *state) {
            let place = (number as u64 * 8).cast_signed() - below.cast_signed();
            match votes.iter_mut().find(|(of, _)| *of == place) {
                Some((_, count)) => *count += 1,
                None => votes.push((place, 1)),
            }
        }
    }
    let enough = asked - asked / 8;
    let elected = votes.iter().filter(|(_, count)| *count >= enough);
    // The most votes, and of equals the nearest: a stack of a thread lies beyond its variables.
    let (place, _) = elected.max_by_key(|(place, count)| (*count, Reverse(place.abs())))?;
    Some(place.cast_unsigned())
}

/// The record, or what of it lies in the first page.
fn readable(memory: &mut Memory<'_>, thread: u64) -> Option<Vec<u8>> {
    let in_page = RECORD - (thread % RECORD as u64) as usize;
    memory
        .bytes(thread, RECORD)
        .or_else(|| memory.bytes(thread, in_page))
}
