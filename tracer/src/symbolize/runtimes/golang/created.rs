//! Where a `g` says which `go` statement started it, and since 1.21 which goroutine did: found by what must be true of
//! it in several of them, since it lies elsewhere in each release.

use super::Golang;
use super::list::G;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::runtimes::memory::Memory;

/// Goroutines by which it is found out.
const SAMPLES: usize = 16;
/// Behind the id, in words: past `waitreason`, and up to the end of what is read of a `g`.
const WORDS: std::ops::Range<u64> = 4..34;
/// The runtime's own first ones, which `runtime.main` starts, have ids up to this.
const FIRST: u64 = 8;

/// Offsets in `runtime.g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Created {
    /// `gopc`; the pointer to its ancestors and `startpc` are the two words behind it.
    pub at: u64,
    /// `parentGoid`, the word before.
    pub by: Option<u64>,
}

pub(super) fn find(code: &CodeIndex, memory: &mut Memory<'_>, go: &Golang) -> Option<Created> {
    let (all, _) = go.list(memory, SAMPLES);
    let id = go.layout.id;
    let mut places = WORDS.map(|word| id + word * 8);
    let at = places.find(|at| {
        !all.is_empty()
            && all.iter().all(|g| {
                let mut word = |offset: u64| memory.word(g.at.wrapping_add(offset));
                let words = (word(*at), word(at + 8), word(at + 16));
                let (Some(from), Some(0), Some(start)) = words else {
                    return false;
                };
                is_code(code, from) && is_code(code, start)
            })
    })?;
    let by = at - 8;
    let mut of_main = 0;
    for g in &all {
        let creator = memory.word(g.at.wrapping_add(by))?;
        // Before 1.21 that of a signal is there: an address, or nothing.
        if creator != 0 && is_code(code, creator) {
            return Some(Created { at, by: None });
        }
        of_main += usize::from(is_first(g) && creator == 1);
    }
    let by = (of_main > 0).then_some(by);
    Some(Created { at, by })
}

const fn is_first(g: &G) -> bool {
    g.id > 1 && g.id <= FIRST
}

fn is_code(code: &CodeIndex, address: u64) -> bool {
    code.find(address).is_some_and(Code::is_go)
}
