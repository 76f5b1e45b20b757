//! The threads that an interpreter knows, and where each keeps the pointer to its state.

use super::layout::Layout;
use crate::symbolize::runtimes::memory::Memory;

const MAX_INTERPRETERS: usize = 64;
const MAX_THREADS: usize = 8192;
/// Threads by which the place is found out.
const MAX_SAMPLES: usize = 64;
/// The C library's record of a thread begins at the thread pointer, and its thread-specific data is in it.
const RECORD: usize = 4096;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Thread pointer and state.
    pub states: Vec<(u64, u64)>,
    pub many_interpreters: bool,
}

/// As far as it can be read; the lists may change meanwhile.
pub(super) fn list(memory: &mut Memory<'_>, layout: &Layout, runtime: u64) -> Known {
    let mut known = Known::default();
    let mut next = memory.word(runtime.wrapping_add(layout.interpreters));
    for number in 0..MAX_INTERPRETERS {
        let Some(interpreter) = next.filter(|address| *address != 0) else {
            break;
        };
        known.many_interpreters = number > 0;
        add_threads(memory, layout, interpreter, &mut known.states);
        next = memory.word(interpreter.wrapping_add(layout.next_interpreter));
    }
    known
}

fn add_threads(
    memory: &mut Memory<'_>,
    layout: &Layout,
    interpreter: u64,
    states: &mut Vec<(u64, u64)>,
) {
    let mut next = memory.word(interpreter.wrapping_add(layout.threads));
    while states.len() < MAX_THREADS {
        let Some(state) = next.filter(|address| *address != 0) else {
            return;
        };
        let Some(thread) = memory.word(state.wrapping_add(layout.thread_id)) else {
            return;
        };
        states.push((thread, state));
        next = memory.word(state.wrapping_add(layout.next_thread));
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::runtimes::cpython::layout::of_release;

    /// A list that leads back to itself ends, and the place is that on which the threads agree.
    #[test]
    fn circles_end() {
        let page = |page: u64| {
            let mut bytes = vec![0_u8; 4096];
            let mut set = |at: usize, word: u64| {
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            };
            match page {
                0x10000 => set(32, 0x20000), // the runtime
                0x20000 => {
                    set(0, 0x20000);
                    set(8, 0x30000);
                }
                0x30000 => {
                    set(8, 0x30000);
                    set(176, 0x40000);
                }
                0x40000 => set(792, 0x30000),
                _ => return None,
            }
            Some(bytes)
        };
        let mut fetch = |pages: &[u64]| pages.iter().copied().map(page).collect();
        let mut memory = Memory::new(&mut fetch);
        let known = list(&mut memory, &of_release(8).unwrap(), 0x10000);
        assert_eq!(known.states.len(), MAX_THREADS);
        assert!(known.many_interpreters);
        assert_eq!(place_of_state(&mut memory, &known.states), Some(792));
    }
}
