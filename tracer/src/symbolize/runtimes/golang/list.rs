//! All goroutines of a process, as far as they can be read. They go on meanwhile: what is concluded from one holds
//! only if it is unchanged afterwards.

use super::{Golang, Layout};
use crate::symbolize::runtimes::memory::Memory;

/// Read at a time.
const TOGETHER: usize = 512;
/// Of `runtime.g`, past everything that is asked for.
const BYTES: usize = 448;

/// `_G…` of `runtime/runtime2.go`, in all releases.
const IDLE: u32 = 0;
const WAITING: u32 = 4;
const DEAD: u32 = 6;
/// `_Gscan`: the collector holds it for a moment.
const LOOKED_THROUGH: u32 = 0x1000;

/// One goroutine as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct G {
    pub at: u64,
    pub id: u64,
    /// Where its stack ends.
    pub high: u64,
    pub sp: u64,
    pub pc: u64,
    status: u32,
    /// `CLOCK_MONOTONIC`; since when it waits at least, once the collector has seen it; else 0.
    pub since: u64,
    /// The `m` that runs it.
    pub machine: u64,
    /// Where the `go` statement that started it returned to; 0 when unknown.
    pub created_at: u64,
    /// The id of the goroutine that did; 0 when unknown.
    pub creator: u64,
}

impl G {
    /// It waits, and its registers are where it left them.
    pub(in crate::symbolize) const fn waits(&self) -> bool {
        self.status == WAITING
    }

    const fn exists(&self) -> bool {
        !matches!(self.status, IDLE | DEAD) && self.id != 0
    }

    fn read(memory: &mut Memory<'_>, layout: Layout, at: u64) -> Option<Self> {
        let bytes = memory.bytes(at, BYTES)?;
        let word = |offset: u64| {
            let from = usize::try_from(offset).ok()?;
            let word = bytes.get(from..)?.first_chunk()?;
            Some(u64::from_le_bytes(*word))
        };
        // Without the lock of its stack.
        let status = word(layout.status())? as u32 & !LOOKED_THROUGH;
        let g = Self {
            at,
            id: word(layout.id)?,
            high: word(8)?,
            sp: word(layout.sp())?,
            pc: word(layout.pc())?,
            status,
            since: word(layout.since())?,
            // `m` is the last word before the `gobuf`.
            machine: word(layout.sp() - 8)?,
            created_at: layout.created.map_or(Some(0), |created| word(created.at))?,
            creator: layout
                .created
                .and_then(|created| created.by)
                .map_or(Some(0), word)?,
        };
        (word(layout.itself)? == at).then_some(g)
    }
}

impl Golang {
    /// Those that have not ended, at most so many; the second value says that these are all.
    pub(in crate::symbolize) fn list(
        &self,
        memory: &mut Memory<'_>,
        most: usize,
    ) -> (Vec<G>, bool) {
        let mut found = Vec::new();
        let slice = memory.word(self.all).zip(memory.word(self.all + 8));
        let Some((elements, length)) = slice else {
            return (found, false);
        };
        let mut all = true;
        let length = length.min(1 << 26);
        let mut number = 0;
        while number < length {
            let end = length.min(number + TOGETHER as u64);
            memory.want((number..end).map(|number| elements.wrapping_add(number * 8)));
            let some: Vec<Option<u64>> = (number..end)
                .map(|number| memory.word(elements.wrapping_add(number * 8)))
                .collect();
            memory.want(some.iter().flatten().copied());
            for at in some {
                let Some(g) = at.and_then(|at| G::read(memory, self.layout, at)) else {
                    all = false;
                    continue;
                };
                if !g.exists() {
                    continue;
                }
                if found.len() >= most {
                    return (found, false);
                }
                found.push(g);
            }
            number = end;
        }
        (found, all)
    }

    /// Whether each is as it was, by memory that was not read before.
    pub(in crate::symbolize) fn are_unchanged(
        &self,
        memory: &mut Memory<'_>,
        before: &[G],
    ) -> Vec<bool> {
        for some in before.chunks(TOGETHER) {
            memory.want(some.iter().map(|g| g.at));
        }
        let same = |g: &G| {
            let now = G::read(memory, self.layout, g.at);
            now.is_some_and(|now| {
                (now.id, now.status, now.sp, now.pc, now.high)
                    == (g.id, g.status, g.sp, g.pc, g.high)
            })
        };
        before.iter().map(same).collect()
    }

    /// The `g` that the thread with this thread pointer runs on: a goroutine, or one of the runtime's own for its
    /// scheduler. `None` for threads that are not the runtime's.
    pub(in crate::symbolize) fn running(
        &self,
        memory: &mut Memory<'_>,
        thread: u64,
    ) -> Option<u64> {
        let g = memory.word(thread.wrapping_add(super::RUNNING))?;
        let itself = memory.word(g.checked_add(self.layout.itself)?)?;
        (g != 0 && itself == g).then_some(g)
    }

    /// The scheduler's `g` of the `m` that runs a goroutine: its thread is on that one's stack meanwhile, also in C.
    pub(in crate::symbolize) fn scheduler(memory: &mut Memory<'_>, g: &G) -> Option<u64> {
        let at = g.machine;
        (at != 0).then(|| memory.word(at)).flatten()
    }
}
