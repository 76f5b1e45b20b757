//! Finds `runtime.allgs` among the variables of a program, stripped or not: a slice of pointers whose first
//! element is the `g` of the main goroutine, and all of whose elements are like it.

use std::ops::Range;

use super::{Golang, Layout};
use crate::symbolize::runtimes::memory::{END, Memory};

/// Variables that are looked through; the largest programs have some hundred KiB of this kind.
const MAX_VARIABLES: u64 = 4 << 20;
/// Slices that look like it from outside, and how many are looked at together.
const MAX_CANDIDATES: usize = 4096;
const TOGETHER: usize = 64;
/// More goroutines than any machine has room for.
const MAX_LENGTH: u64 = 1 << 26;
/// Elements by which the layout is found out.
const SAMPLES: u64 = 16;
/// Where the word that points to its own `g`, and where the id, has been in the releases so far: 72, and 152 or 160.
const ITSELF: Range<u64> = 48..120;
const IDS: Range<u64> = 128..216;
const LARGEST_STACK: u64 = 1 << 32;

#[derive(Clone, Copy, Debug)]
struct Slice {
    at: u64,
    elements: u64,
    length: u64,
}

pub(super) fn find(memory: &mut Memory<'_>, variables: Range<u64>) -> Option<Golang> {
    let length = variables.end.checked_sub(variables.start)?;
    let length = length.min(MAX_VARIABLES) & !7;
    let start = variables.start.checked_add(7)? & !7;
    memory.read_ahead(32);
    let bytes = memory.bytes(start, length.try_into().ok()?);
    memory.read_ahead(0);
    let bytes = bytes?;
    let words = bytes.as_chunks::<8>().0;
    let word = |at: usize| words.get(at).map(|word| u64::from_le_bytes(*word));
    let slices = (0..words.len()).filter_map(|at| {
        let (elements, length, capacity) = (word(at)?, word(at + 1)?, word(at + 2)?);
        let like_it = (2..=capacity).contains(&length)
            && capacity <= MAX_LENGTH
            && is_pointer(elements)
            && elements.checked_add(capacity * 8)? < END;
        like_it.then_some(Slice {
            at: start + at as u64 * 8,
            elements,
            length,
        })
    });
    let slices: Vec<Slice> = slices.take(MAX_CANDIDATES).collect();
    for some in slices.chunks(TOGETHER) {
        memory.want(some.iter().map(|slice| slice.elements));
        let firsts: Vec<u64> = some
            .iter()
            .filter_map(|slice| memory.word(slice.elements))
            .filter(|first| is_pointer(*first))
            .collect();
        memory.want(firsts);
        let found = some.iter().find_map(|slice| {
            let layout = layout(memory, *slice)?;
            Some(Golang {
                all: slice.at,
                layout,
            })
        });
        if found.is_some() {
            return found;
        }
    }
    None
}

pub(super) const fn is_pointer(word: u64) -> bool {
    word > 0xffff && word < END && word.is_multiple_of(8)
}

/// That of its elements, if they are goroutines.
fn layout(memory: &mut Memory<'_>, slice: Slice) -> Option<Layout> {
    let count = slice.length.min(SAMPLES);
    let elements: Vec<u64> = (0..count)
        .map(|number| memory.word(slice.elements + number * 8))
        .collect::<Option<_>>()?;
    let different = |at: usize, one: &u64| elements.iter().skip(at + 1).all(|other| other != one);
    let sensible = |(at, one): (usize, &u64)| is_pointer(*one) && different(at, one);
    if !elements.iter().enumerate().all(sensible) {
        return None;
    }
    let mut itself = ITSELF.step_by(8).filter(|offset| {
        let points = |g: &u64| memory.word(g + offset) == Some(*g);
        elements.iter().all(points)
    });
    let itself = itself.next()?;
    if !elements.iter().all(|g| has_a_stack(memory, *g)) {
        return None;
    }
    let id = IDS
        .step_by(8)
        .find(|offset| are_ids(memory, &elements, *offset))?;
    Some(Layout {
        created: None,
        itself,
        id,
    })
}

/// Its bounds are the first words of a `g`; that of one which has ended may have been given back.
fn has_a_stack(memory: &mut Memory<'_>, g: u64) -> bool {
    let (low, high) = (memory.word(g), memory.word(g + 8));
    low.zip(high).is_some_and(|(low, high)| {
        low == 0 && high == 0
            || is_pointer(low) && low < high && high < END && high - low <= LARGEST_STACK
    })
}

/// Numbers from 1 on, all different, each 8 bytes behind a status.
fn are_ids(memory: &mut Memory<'_>, elements: &[u64], offset: u64) -> bool {
    /// `_Gpreempted`, the last one, and the bit of a stack that is looked through.
    const LAST_STATUS: u32 = 11;
    const LOOKED_THROUGH: u32 = 0x1000;
    let mut seen = Vec::new();
    for g in elements {
        let (Some(id), Some(status)) = (memory.word(g + offset), memory.half(g + offset - 8))
        else {
            return false;
        };
        if id == 0 || id >> 40 != 0 || seen.contains(&id) {
            return false;
        }
        if status & !LOOKED_THROUGH > LAST_STATUS {
            return false;
        }
        seen.push(id);
    }
    seen.first() == Some(&1)
}
