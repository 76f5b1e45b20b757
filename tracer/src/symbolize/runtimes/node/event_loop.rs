//! The main event loop of libuv and its TCP handles. `uv_default_loop`'s variable has no exported name; it is found by
//! what must be true of it: an empty queue in it points to itself, and its handles point to it.

use std::collections::HashMap;
use std::ops::Range;

use crate::symbolize::runtimes::exports;
use crate::symbolize::runtimes::memory::{END, Memory};

/// Node has some 400 KiB of variables.
const MAX_VARIABLES: u64 = 4 << 20;
const MAX_HANDLES: usize = 65_536;
const MAX_LOOPS: usize = 4;
const MAX_DESCRIPTOR: u32 = 1 << 24;

/// `uv_loop_t` of libuv 1.x: queue of handles, descriptor of its epoll set, queue of what is pending.
const HANDLES: u64 = 16;
const BACKEND: u64 = 64;
const PENDING: u64 = 72;
/// `uv_tcp_t`: data, loop, type, queue; watched descriptor.
const LOOP: u64 = 8;
const KIND: u64 = 16;
const QUEUE: u64 = 32;
const DESCRIPTOR: u64 = 184;
const TCP: u32 = 12;
const TIMER: u32 = 13;
const LAST_KIND: u32 = 17;

/// Where its variables lie in memory; none where the file has no event loop.
pub(super) fn variables(file: &std::fs::File, bias: u64) -> Vec<Range<u64>> {
    let [default] = exports::find(file, ["uv_default_loop"]);
    if default.is_none() {
        return Vec::new();
    }
    let writable = exports::writable(file).into_iter();
    writable
        .map(|range| range.start.wrapping_add(bias)..range.end.wrapping_add(bias))
        .collect()
}

pub(super) fn find(memory: &mut Memory<'_>, variables: Range<u64>) -> Vec<u64> {
    let mut found = Vec::new();
    let start = variables.start.saturating_add(7) & !7;
    let length = variables.end.saturating_sub(start).min(MAX_VARIABLES) & !7;
    memory.read_ahead(32);
    let bytes = usize::try_from(length)
        .ok()
        .and_then(|length| memory.bytes(start, length));
    memory.read_ahead(0);
    let bytes = bytes.unwrap_or_default();
    for (number, words) in bytes.as_chunks::<8>().0.windows(2).enumerate() {
        let at = start + number as u64 * 8;
        let itself = words.iter().all(|word| u64::from_le_bytes(*word) == at);
        if itself
            && let Some(candidate) = at.checked_sub(PENDING)
            && is_loop(memory, candidate)
        {
            found.push(candidate);
            if found.len() >= MAX_LOOPS {
                break;
            }
        }
    }
    found
}

fn is_loop(memory: &mut Memory<'_>, at: u64) -> bool {
    let mut proven = || {
        let queue = at.checked_add(HANDLES)?;
        let (next, previous) = (memory.word(queue)?, memory.word(queue + 8)?);
        let backend = memory.half(at + BACKEND)?;
        let circular =
            memory.word(next.checked_add(8)?)? == queue && memory.word(previous)? == queue;
        (circular && next != queue && backend < MAX_DESCRIPTOR).then_some(())
    };
    proven().is_some()
}

/// Handles by their descriptors; `None` for one that two have. The second value says that these are all.
pub(super) fn handles(
    memory: &mut Memory<'_>,
    of: u64,
    found: &mut HashMap<i32, Option<u64>>,
) -> bool {
    // Most were allocated one after the other.
    memory.read_ahead(7);
    let all = walk(memory, of, |memory, handle, kind| {
        if kind == TCP
            && let Some(descriptor) = memory.half(handle + DESCRIPTOR)
            && descriptor < MAX_DESCRIPTOR
        {
            let known = found.entry(descriptor.cast_signed());
            known
                .and_modify(|other| *other = None)
                .or_insert(Some(handle));
        }
        true
    });
    memory.read_ahead(0);
    all
}

/// The first of its timers, at most so many.
pub(super) fn timers(memory: &mut Memory<'_>, of: u64, most: usize) -> Vec<u64> {
    let mut found = Vec::new();
    walk(memory, of, |_, handle, kind| {
        if kind == TIMER {
            found.push(handle);
        }
        found.len() < most
    });
    found
}

/// Gives each handle with its kind to `tell`, which says whether to go on; whether these were all.
fn walk(
    memory: &mut Memory<'_>,
    of: u64,
    mut tell: impl FnMut(&mut Memory<'_>, u64, u32) -> bool,
) -> bool {
    let head = of + HANDLES;
    let mut at = memory.word(head);
    for _ in 0..MAX_HANDLES {
        let Some(queue) = at.filter(|queue| *queue < END) else {
            return false;
        };
        if queue == head {
            return true;
        }
        let Some(handle) = queue.checked_sub(QUEUE) else {
            return false;
        };
        let kind = memory.half(handle + KIND).filter(|kind| *kind <= LAST_KIND);
        let Some(kind) = kind.filter(|_| memory.word(handle + LOOP) == Some(of)) else {
            return false;
        };
        if !tell(memory, handle, kind) {
            return false;
        }
        at = memory.word(queue);
    }
    false
}
