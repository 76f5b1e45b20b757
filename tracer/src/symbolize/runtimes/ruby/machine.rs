//! Finds the pointer to the virtual machine among the library's variables, where it is not exported (since 3.3): what it leads to
//! must have a main thread that leads back.

use std::ops::Range;

use super::layout::Layout;
use super::threads;
use crate::symbolize::runtimes::memory::{END, Memory};

/// Variables that are looked through; the library has 150 KiB of them.
const MAX_VARIABLES: u64 = 1 << 20;
const TOGETHER: usize = 64;

pub(super) fn find(
    memory: &mut Memory<'_>,
    layout: &Layout,
    variables: &Range<u64>,
) -> Option<u64> {
    let length = variables.end.checked_sub(variables.start)?;
    let length = length.min(MAX_VARIABLES) & !7;
    let start = variables.start.checked_add(7)? & !7;
    memory.read_ahead(32);
    let bytes = memory.bytes(start, length.try_into().ok()?);
    memory.read_ahead(0);
    let bytes = bytes?;
    let words = bytes.as_chunks::<8>().0.iter().enumerate();
    // Allocated, so at an even word and elsewhere than these variables.
    let pointers: Vec<(u64, u64)> = words
        .map(|(number, word)| (start + number as u64 * 8, u64::from_le_bytes(*word)))
        .filter(|(_, to)| {
            to.is_multiple_of(16) && (1 << 16..END).contains(to) && !variables.contains(to)
        })
        .collect();
    pointers.chunks(TOGETHER).find_map(|some| {
        memory.want(some.iter().map(|(_, to)| *to));
        some.iter()
            .find(|(_, to)| threads::is_machine(memory, layout, *to))
            .map(|(at, _)| *at)
    })
}
