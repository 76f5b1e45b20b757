//! Which file a goroutine waits for in the network poller: its stack leads to the `poll.FD`, which leads to the
//! poller's own record of it, and that names the goroutine.

use super::list::G;
use super::search::is_pointer;
use crate::symbolize::runtimes::memory::Memory;

/// Of the stack, from where it waits outwards: the functions of `internal/poll` and `net` lie there.
const WORDS: u64 = 256;
/// In `poll.FD`: behind its lock, in all releases (`internal/poll/fd_unix.go`).
const NUMBER: u64 = 16;
/// The pointer to the poller's record; to 1.19, and since.
const RECORDS: [u64; 2] = [24, 32];
/// Of `runtime.pollDesc`, in which `rg` and `wg` are the goroutines that wait to read and to write.
const RECORD_WORDS: u64 = 12;
/// The descriptor in it, behind its link.
const SAME_NUMBER: u64 = 8;
const MAX_DESCRIPTOR: u64 = 1 << 24;

pub(in crate::symbolize) struct Descriptors;

impl Descriptors {
    /// Its number; `None` where that is not told by the poller itself.
    pub(in crate::symbolize) fn waited_for(memory: &mut Memory<'_>, g: &G) -> Option<i32> {
        let end = g.high.min(g.sp.checked_add(WORDS * 8)?);
        let mut tried = Vec::new();
        let mut at = g.sp & !7;
        while at < end {
            let word = memory.word(at)?;
            at += 8;
            let on_stack = (g.sp..g.high).contains(&word);
            if !is_pointer(word) || on_stack || tried.contains(&word) {
                continue;
            }
            tried.push(word);
            if let Some(number) = Self::is_waited_for(memory, g, word) {
                return Some(number);
            }
        }
        None
    }

    fn is_waited_for(memory: &mut Memory<'_>, g: &G, file: u64) -> Option<i32> {
        let number = memory.word(file.checked_add(NUMBER)?)?;
        if number >= MAX_DESCRIPTOR {
            return None;
        }
        let waits = RECORDS.iter().any(|offset| {
            let record = memory.word(file + offset).unwrap_or(0);
            let mut words = (0..RECORD_WORDS).map(|word| record.saturating_add(word * 8));
            is_pointer(record)
                && memory.word(record + SAME_NUMBER) == Some(number)
                && words.any(|at| memory.word(at) == Some(g.at))
        });
        waits.then(|| i32::try_from(number).ok()).flatten()
    }
}
