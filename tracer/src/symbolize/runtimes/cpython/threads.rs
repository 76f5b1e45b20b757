//! The threads that an interpreter knows.

use super::layout::Layout;
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::runtimes::threads::MAX_THREADS;

const MAX_INTERPRETERS: usize = 64;

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

/// Whether there is one interpreter only; `None` when that cannot be read.
pub(super) fn is_alone(memory: &mut Memory<'_>, layout: &Layout, runtime: u64) -> Option<bool> {
    let first = memory.word(runtime.checked_add(layout.interpreters)?)?;
    let next = memory.word(first.checked_add(layout.next_interpreter)?)?;
    Some(first != 0 && next == 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::runtimes::cpython::layout::{self, of_release};
    use crate::symbolize::runtimes::threads::place_of_state;

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

    #[test]
    fn memory_full_of_anything_is_read() {
        crate::damaged::run("memory", 300, |bytes| {
            for minor in [8, 11, 12, 13] {
                let mut fetch = |pages: &[u64]| crate::damaged::pages(bytes, pages);
                let mut memory = Memory::new(&mut fetch);
                let told = layout::from_debug_offsets(&mut memory, 0x10000);
                let Some(layout) = told.or_else(|| of_release(minor)) else {
                    continue;
                };
                let known = list(&mut memory, &layout, 0x10000);
                place_of_state(&mut memory, &known.states);
            }
        });
    }
}
