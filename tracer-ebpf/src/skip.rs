//! How a hook ends early, and where that is counted.

use tracer_common::counter::Counter;

use crate::maps::COUNTERS;

/// Why a hook did nothing, named by the counter that says so.
pub type Skip = Counter;

#[inline(always)]
pub fn done(result: Result<(), Skip>) -> i32 {
    if let Err(why) = result {
        count(why);
    }
    0
}

#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: a per-CPU element that only programs on this CPU write; the worst a nested
        // program can do is lose one increment.
        unsafe { *cell += 1 };
    }
}
