//! Where V8 notes the frame of C++ that JavaScript has called last: a variable of the isolate, which no release gives a name.
//! Its place is in V8's own code, that sets it at each such call; the isolate is what Node's environment points to.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use memchr::memmem::Finder;

use super::event_loop;
use crate::symbolize::image::Image;
use crate::symbolize::runtimes::memory::{END, Memory};

/// `mov [r13 + place], rbp`, and right behind it `mov [r13 + place], rsi`: frame pointer and context (`EnterExitFrame` of
/// `codegen/x64/macro-assembler-x64.cc`). In between are four bytes of the first place.
const SETS: [u8; 3] = [0x49, 0x89, 0xad];
const AND_CONTEXT: [u8; 3] = [0x49, 0x89, 0xb5];
/// `mov qword [r13 + place], 0`: JavaScript goes on.
const CLEARS: [u8; 3] = [0x49, 0xc7, 0x85];
/// From an isolate to where its register points (`kRootRegisterBias`).
const REGISTER: u64 = 128;
/// Of code read at once, and what a pattern may reach into the next piece.
const PIECE: usize = 1 << 20;
const OVERLAP: usize = 16;
/// The variables of threads lie before tables of functions, or behind them.
const MOST: u32 = 1 << 16;

/// Words of an environment before its timer, and of an isolate around the variable, among them its own address
/// (`ThreadLocalTop`).
const BEFORE_TIMER: u64 = 128;
const AROUND: u64 = 128;
/// Of what Node keeps of an isolate, most are names that it needs.
const KEPT: u64 = 6144;
const MAX_TIMERS: usize = 8;

/// From an isolate to the variable; `None` where the code does not say one place alone.
pub(super) fn place(image: &Image) -> Option<u64> {
    let javascript = &image.javascript;
    *javascript.get_or_init(|| search(&image.file, image.code()))
}

fn search(file: &File, code: impl Iterator<Item = Range<u64>>) -> Option<u64> {
    let code: Vec<Range<u64>> = code.collect();
    let sets = Finder::new(&SETS);
    let mut found = None;
    each_piece(file, &code, |piece| {
        for at in sets.find_iter(piece) {
            let Some((place, AND_CONTEXT)) = pair(piece, at) else {
                continue;
            };
            if found.is_some_and(|known| known != place) {
                return None;
            }
            found = Some(place);
        }
        Some(())
    })?;
    let place = found?;
    let clears = [&CLEARS[..], &place[..], &[0; 4][..]].concat();
    let clears = Finder::new(&clears);
    let mut is_cleared = false;
    let _found_early = each_piece(file, &code, |piece| {
        is_cleared = clears.find(piece).is_some();
        (!is_cleared).then_some(())
    });
    let place = u32::from_le_bytes(place);
    let proven = is_cleared && place < MOST && place.is_multiple_of(8);
    proven.then(|| u64::from(place) + REGISTER)
}

/// The four bytes behind three, and the three behind those.
fn pair(code: &[u8], at: usize) -> Option<([u8; 4], [u8; 3])> {
    let rest = code.get(at + 3..)?;
    let (first, rest) = rest.split_first_chunk::<4>()?;
    let then = rest.first_chunk::<3>()?;
    Some((*first, *then))
}

/// `None` when a piece cannot be read, or `tell` says so.
fn each_piece(
    file: &File,
    code: &[Range<u64>],
    mut tell: impl FnMut(&[u8]) -> Option<()>,
) -> Option<()> {
    let mut bytes = vec![0; PIECE + OVERLAP];
    for range in code {
        for at in range.clone().step_by(PIECE) {
            let length = (range.end - at).min(bytes.len() as u64) as usize;
            let piece = bytes.get_mut(..length)?;
            file.read_exact_at(piece, at).ok()?;
            tell(piece)?;
        }
    }
    Some(())
}

/// The isolate of the main loop's environment. That has a timer, and before it the isolate, and what Node keeps of one, where
/// isolate and loop stand side by side; the isolate points to itself near the variable.
pub(super) fn isolate(
    memory: &mut Memory<'_>,
    variables: &[Range<u64>],
    place: u64,
) -> Option<u64> {
    let mut found = None;
    for range in variables {
        for event_loop in event_loop::find(memory, range.clone()) {
            for timer in event_loop::timers(memory, event_loop, MAX_TIMERS) {
                let begin = timer.checked_sub(BEFORE_TIMER);
                let Some(before) = begin.and_then(|at| words(memory, at, BEFORE_TIMER)) else {
                    continue;
                };
                for word in &before {
                    if Some(*word) != found
                        && is_isolate(memory, *word, place)
                        && is_kept(memory, &before, [*word, event_loop])
                    {
                        if found.is_some() {
                            return None;
                        }
                        found = Some(*word);
                    }
                }
            }
        }
    }
    found
}

fn is_isolate(memory: &mut Memory<'_>, at: u64, place: u64) -> bool {
    let around = Some(at)
        .filter(|at| is_pointer(*at))
        .and_then(|at| (at + place).checked_sub(AROUND))
        .and_then(|begin| words(memory, begin, 2 * AROUND));
    around.is_some_and(|around| around.contains(&at))
}

/// One of these leads to where the pair is.
fn is_kept(memory: &mut Memory<'_>, before: &[u64], pair: [u64; 2]) -> bool {
    let mut leads = before.iter().filter(|at| is_pointer(**at));
    leads.any(|at| {
        let kept = words(memory, *at, KEPT);
        kept.is_some_and(|kept| kept.array_windows().any(|two| *two == pair))
    })
}

fn is_pointer(word: u64) -> bool {
    (4096..END).contains(&word) && word.is_multiple_of(8)
}

fn words(memory: &mut Memory<'_>, at: u64, length: u64) -> Option<Vec<u64>> {
    let bytes = memory.bytes(at, length as usize)?;
    let words = bytes.as_chunks::<8>().0.iter();
    Some(words.map(|word| u64::from_le_bytes(*word)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(code: &[u8]) -> Option<u64> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(code, 0).unwrap();
        let length = code.len() as u64;
        search(&file, [0..length / 2, length / 2..length].into_iter())
    }

    fn with(places: &[u32], cleared: &[u32], at: usize) -> Vec<u8> {
        let mut code = vec![0x90; at];
        for place in places {
            code.extend(SETS);
            code.extend(place.to_le_bytes());
            code.extend(AND_CONTEXT);
            code.extend([0; 4]);
        }
        for place in cleared {
            code.extend(CLEARS);
            code.extend(place.to_le_bytes());
            code.extend([0; 4]);
        }
        code.extend(vec![0x90; at]);
        code
    }

    #[test]
    fn the_place_is_the_only_one_that_is_set_and_cleared() {
        for at in [0, 7, PIECE - 9, PIECE - 1, 3 * PIECE] {
            let code = with(&[144, 144], &[128, 144], at);
            assert_eq!(searched(&code), Some(144 + 128), "{at}");
        }
        assert_eq!(searched(&with(&[144, 152], &[144, 152], 64)), None, "two");
        assert_eq!(searched(&with(&[144], &[152], 64)), None, "never cleared");
        assert_eq!(searched(&with(&[146], &[146], 64)), None, "no word");
        let far = MOST + 8;
        assert_eq!(searched(&with(&[far], &[far], 64)), None);
        assert_eq!(searched(&[]), None);
    }

    /// A loop at `LOOP` whose one timer lies in an environment, before it an isolate and what is kept of that.
    fn isolate_of(isolate: u64, itself: u64, kept: [u64; 2]) -> Option<u64> {
        const LOOP: u64 = 0x10_000;
        const TIMER: u64 = 0x20_400;
        const KEEPS: u64 = 0x30_000;
        let mut memory = std::collections::HashMap::new();
        let queue = LOOP + 16;
        let words = [
            (queue, TIMER + 32),
            (queue + 8, TIMER + 32),
            (TIMER + 32, queue),
            (TIMER + 40, queue),
            (LOOP + 72, LOOP + 72),
            (LOOP + 80, LOOP + 72),
            (TIMER + 8, LOOP),
            (TIMER + 16, 13),
            (TIMER - 24, isolate),
            (TIMER - 16, KEEPS),
            (KEEPS + 4168, kept[0]),
            (KEEPS + 4176, kept[1]),
            (isolate + 128 + 144 - 112, itself),
        ];
        memory.extend(words);
        let mut fetch = |pages: &[u64]| {
            let page = |page: &u64| {
                let words = (*page..page + 4096).step_by(8);
                let word = |at: u64| memory.get(&at).copied().unwrap_or(0).to_le_bytes();
                Some(words.flat_map(word).collect())
            };
            pages.iter().map(page).collect()
        };
        let mut memory = Memory::new(&mut fetch);
        super::isolate(
            &mut memory,
            std::slice::from_ref(&(LOOP..LOOP + 4096)),
            144 + 128,
        )
    }

    #[test]
    fn an_isolate_proves_itself_and_is_kept_beside_its_loop() {
        let (at, event_loop) = (0x50_0008, 0x10_000);
        assert_eq!(isolate_of(at, at, [at, event_loop]), Some(at));
        assert_eq!(isolate_of(at, at + 8, [at, event_loop]), None);
        assert_eq!(isolate_of(at, at, [at, event_loop + 8]), None);
        assert_eq!(isolate_of(at, at, [event_loop, at]), None);
        assert_eq!(isolate_of(at + 1, at + 1, [at + 1, event_loop]), None);
    }
}
