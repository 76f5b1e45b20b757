//! Where sockets are closed that were opened at the same place as the stuck ones: counted by pairs of
//! stack keys, and only from when some socket is stuck, so that a healthy machine does not pay for it.

use tracer_common::counter::Counter;

use crate::{
    maps::{CLOSES, COUNT_CLOSES},
    skip::count,
};

#[inline(always)]
pub fn counted() -> bool {
    // SAFETY: one aligned word that only user space writes.
    COUNT_CLOSES
        .get_ptr(0)
        .is_some_and(|on| unsafe { *on } != 0)
}

/// A socket was opened by the code that the one key stands for, and closed by that of the other.
#[inline(always)]
pub fn note(opened: u64, stack: u64) {
    if opened == 0 || stack == 0 {
        return;
    }
    let pair = [opened, stack];
    if let Some(closed) = CLOSES.get_ptr_mut(pair) {
        // SAFETY: a per-CPU element, as in `skip::count`.
        unsafe { *closed += 1 };
    } else if CLOSES.insert(pair, 1, 0).is_err() {
        count(Counter::CloseUncounted);
    }
}
