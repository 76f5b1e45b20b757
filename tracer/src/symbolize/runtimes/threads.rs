//! Where a runtime's threads keep the pointer to their state: found by what the runtime's own list of threads says, so no
//! code is disassembled and no C library's layout is known.

use super::memory::Memory;

pub(super) const MAX_THREADS: usize = 8192;
/// Threads by which the place is found out.
const MAX_SAMPLES: usize = 64;
/// The C library's record of a thread begins at the thread pointer, and its thread-specific data is in it.
const RECORD: usize = 4096;

/// The distance from the thread pointer at which every thread has its own state. A thread that is about to
/// start or end may not have it, so one in eight may differ.
pub(super) fn place_of_state(memory: &mut Memory<'_>, states: &[(u64, u64)]) -> Option<u64> {
    let samples = states.get(..MAX_SAMPLES).unwrap_or(states);
    memory.want(samples.iter().map(|(thread, _)| *thread));
    let mut votes: Vec<(usize, usize)> = Vec::new();
    let mut asked = 0;
    for (thread, state) in samples {
        let Some(record) = readable(memory, *thread) else {
            continue;
        };
        asked += 1;
        let words = record.as_chunks::<8>().0.iter().enumerate();
        for (place, _) in words.filter(|(_, word)| u64::from_le_bytes(**word) == *state) {
            match votes.iter_mut().find(|(of, _)| *of == place) {
                Some((_, count)) => *count += 1,
                None => votes.push((place, 1)),
            }
        }
    }
    let enough = asked - asked / 8;
    let elected = votes.iter().filter(|(_, count)| *count >= enough);
    // The most votes, and of equals the first.
    let (place, _) = elected.max_by_key(|(place, count)| (*count, usize::MAX - place))?;
    Some(*place as u64 * 8)
}

/// The record, or what of it lies in the first page.
fn readable(memory: &mut Memory<'_>, thread: u64) -> Option<Vec<u8>> {
    let in_page = RECORD - (thread % RECORD as u64) as usize;
    memory
        .bytes(thread, RECORD)
        .or_else(|| memory.bytes(thread, in_page))
}
