//! The threads of the main Ractor, and at which distance from the thread pointer all threads keep their execution context. A
//! pointer is followed only where what it leads to refers back, so a wrong layout finds no thread.

use super::layout::Layout;
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::runtimes::threads::MAX_THREADS;

/// In the virtual machine: its main Ractor and thread.
const MAIN_RACTOR: u64 = 32;
const MAIN_THREAD: u64 = 40;
/// In a thread, after its link in the list of its Ractor.
const RACTOR: u64 = 24;
const MACHINE: u64 = 32;
/// The head of that list is in the Ractor.
const RACTOR_BYTES: u64 = 1024;

/// In an execution context: its stack of values with the length in words, and the innermost control frame.
pub(super) const VALUES: u64 = 0;
pub(super) const FRAME: u64 = 16;
/// A stack of values is not larger.
const MAX_WORDS: u64 = 1 << 28;

/// Control frames, innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frames {
    pub first: u64,
    pub end: u64,
}

/// Thread pointers with their execution contexts; the list may change meanwhile.
pub(super) fn list(memory: &mut Memory<'_>, layout: &Layout, machine: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let (Some(ractor), Some(main)) = (
        memory.word(machine.wrapping_add(MAIN_RACTOR)),
        memory.word(machine.wrapping_add(MAIN_THREAD)),
    ) else {
        return found;
    };
    let mut thread = main;
    for _ in 0..MAX_THREADS {
        let is_head = thread.wrapping_sub(ractor) < RACTOR_BYTES;
        if !is_head {
            if memory.word(thread.wrapping_add(RACTOR)) != Some(ractor)
                || memory.word(thread.wrapping_add(MACHINE)) != Some(machine)
            {
                return found;
            }
            found.extend(of_thread(memory, layout, thread));
        }
        match memory.word(thread) {
            Some(next) if next != main => thread = next,
            _ => return found,
        }
    }
    found
}

/// What leads to a thread that leads back.
pub(super) fn is_machine(memory: &mut Memory<'_>, layout: &Layout, at: u64) -> bool {
    let main = |memory: &mut Memory<'_>| {
        let ractor = memory.word(at.checked_add(MAIN_RACTOR)?)?;
        let thread = memory.word(at.checked_add(MAIN_THREAD)?)?;
        // What is no pointer is not looked up.
        let likely = [ractor, thread]
            .iter()
            .all(|to| to.is_multiple_of(8) && *to != 0);
        let back = likely
            && memory.word(thread.checked_add(MACHINE)?)? == at
            && memory.word(thread.checked_add(RACTOR)?)? == ractor;
        back.then(|| of_thread(memory, layout, thread)).flatten()
    };
    main(memory).is_some()
}

fn of_thread(memory: &mut Memory<'_>, layout: &Layout, thread: u64) -> Option<(u64, u64)> {
    let context = memory.word(thread.checked_add(layout.context)?)?;
    let pointer = pointer_of(memory, layout, thread)?;
    frames(memory, layout, context)?;
    let back = memory.word(context.checked_add(layout.back)?)?;
    (back == thread && pointer != 0).then_some((pointer, context))
}

fn pointer_of(memory: &mut Memory<'_>, layout: &Layout, thread: u64) -> Option<u64> {
    let holder = match layout.native {
        Some(native) => memory.word(thread.checked_add(native)?)?,
        None => thread,
    };
    memory.word(holder.checked_add(layout.pointer)?)
}

/// Of an execution context: `None` for what is none.
pub(super) fn frames(memory: &mut Memory<'_>, layout: &Layout, context: u64) -> Option<Frames> {
    let values = memory.word(context.checked_add(VALUES)?)?;
    let words = memory.word(context.checked_add(VALUES + 8)?)?;
    let first = memory.word(context.checked_add(FRAME)?)?;
    if words == 0 || words > MAX_WORDS || !values.is_multiple_of(8) {
        return None;
    }
    let end = values.checked_add(words * 8)?;
    let whole = first >= values && first < end && (end - first).is_multiple_of(layout.frame);
    whole.then_some(Frames { first, end })
}

/// What the thread with this thread pointer executes, if it is that thread's own.
pub(super) fn frames_of(
    memory: &mut Memory<'_>,
    layout: &Layout,
    place: u64,
    pointer: u64,
) -> Option<Frames> {
    let context = memory.word(pointer.wrapping_add(place))?;
    let thread = memory.word(context.checked_add(layout.back)?)?;
    let same = memory.word(thread.checked_add(layout.context)?)? == context
        && pointer_of(memory, layout, thread)? == pointer;
    if same {
        frames(memory, layout, context)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::runtimes::ruby::layout::of_release;
    use crate::symbolize::runtimes::ruby::{Activation, iseq};
    use crate::symbolize::runtimes::threads::place_near;

    /// A machine with two threads, of which the second leads back to itself instead of the list's head, and a third
    /// record that refers to another machine.
    fn page(page: u64, second: u64) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; 4096];
        let mut set = |at: usize, word: u64| {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        };
        let mut thread = |next: u64, machine: u64, context: u64, pointer: u64| {
            set(0, next);
            set(24, 0x20000);
            set(32, machine);
            set(40, context);
            set(80, pointer);
        };
        match page {
            0x10000 => {
                set(32, 0x20000);
                set(40, 0x30000);
            }
            0x30000 => thread(0x31000, 0x10000, 0x40000, 0x50010),
            0x31000 => thread(second, 0x10000, 0x41000, 0x51010),
            0x32000 => thread(0x30000, 0x99000, 0x40000, 0x50010),
            0x40000 | 0x41000 => {
                set(0, 0x60000);
                set(8, 0x200);
                set(16, 0x61000 - 2 * 64);
                set(48, page - 0x10000);
            }
            // Below the thread pointer.
            0x50000 => set(8, 0x40000),
            0x51000 => set(8, 0x41000),
            _ => return None,
        }
        Some(bytes)
    }

    fn found(second: u64) -> (Vec<(u64, u64)>, Option<u64>) {
        let mut fetch = |pages: &[u64]| pages.iter().map(|at| page(*at, second)).collect();
        let mut memory = Memory::new(&mut fetch);
        let known = list(&mut memory, &of_release("3.1.2").unwrap(), 0x10000);
        let place = place_near(&mut memory, &known);
        (known, place)
    }

    #[test]
    fn what_does_not_refer_back_is_no_thread() {
        let both = vec![(0x50010, 0x40000), (0x51010, 0x41000)];
        let place = Some(8_i64.wrapping_neg().cast_unsigned());
        // To the head of the list, to a record of another machine, nowhere.
        for second in [0x20100, 0x32000, 0] {
            assert_eq!(found(second), (both.clone(), place), "{second:x}");
        }
        let (known, _) = found(0x31000);
        assert!(known.len() <= MAX_THREADS, "a circle ends");
    }

    #[test]
    fn memory_full_of_anything_is_read() {
        crate::damaged::run("memory", 300, |bytes| {
            for release in ["3.0.0", "3.1.0", "3.2.0", "3.4.0"] {
                let layout = of_release(release).unwrap();
                let mut fetch = |pages: &[u64]| crate::damaged::pages(bytes, pages);
                let mut memory = Memory::new(&mut fetch);
                let known = list(&mut memory, &layout, 0x10000);
                place_near(&mut memory, &known);
                frames_of(&mut memory, &layout, 16, 0x10000);
                let all = (0..64).map(|number| Activation {
                    code: 0x10000 + number * 64,
                    instruction: number * 8,
                });
                let all: Vec<Activation> = all.collect();
                iseq::name(&mut memory, &layout, &all);
            }
        });
    }
}
