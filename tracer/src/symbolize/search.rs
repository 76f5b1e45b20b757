//! The caller of a function that no table describes, found on the stack: musl's system call
//! wrappers, assembly. Accepts only an address that a call instruction returns to, close above the
//! stack pointer, and only if that call can have led here: some of these functions make room that
//! they do not use, where leftovers of earlier calls remain.

use super::calls;
use super::code::{CodeIndex, CopiedStack};
use super::maps::Backing;

/// musl needs up to 100 bytes from the system call to the caller of `recv`.
const REACH: u64 = 256;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub return_address: u64,
    pub sp: u64,
    pub fp: u64,
    /// Not confirmed by the frame pointer.
    pub searched: bool,
}

pub(super) fn caller(
    index: &CodeIndex,
    stack: &CopiedStack<'_>,
    here: u64,
    sp: u64,
    fp: u64,
) -> Option<Caller> {
    let led = |slot: u64| {
        let address = stack.read(slot);
        address.is_some_and(|address| calls::can_have_led(index, address, here))
    };
    let above = fp >= sp && fp < u64::MAX - 16;
    let chained = Some(fp).filter(|frame| above && returns(index, stack, *frame + 8));
    let nearest = slots(sp, sp.saturating_add(REACH)).find(|slot| led(*slot));
    // Frame pointers are believed only when nothing below them looks like a return address:
    // otherwise the register is a caller's and functions would be skipped.
    if let Some(frame) = chained
        && !slots(sp, frame).any(led)
    {
        return Some(Caller {
            return_address: stack.read(frame + 8)?,
            sp: frame + 16,
            fp: stack.read(frame)?,
            searched: false,
        });
    }
    let slot = nearest?;
    let kept = fp > slot;
    let saved = || {
        let values = slots(sp, slot).filter_map(|slot| stack.read(slot));
        let mut plausible = values.filter(|value| {
            let above = *value > slot && value % 8 == 0;
            above
                && value
                    .checked_add(8)
                    .is_some_and(|at| returns(index, stack, at))
        });
        plausible.next()
    };
    Some(Caller {
        return_address: stack.read(slot)?,
        sp: slot.checked_add(8)?,
        fp: if kept { fp } else { saved().unwrap_or(fp) },
        searched: true,
    })
}

/// The caller of code that a runtime made: by frame pointer, or as Python's trampolines are left,
/// which only move the stack pointer by a word. Believes what leads to known code only.
pub(super) fn jit_caller(
    index: &CodeIndex,
    stack: &CopiedStack<'_>,
    sp: u64,
    fp: u64,
) -> Option<Caller> {
    let near = [sp, sp.checked_add(8)?];
    let near = near.into_iter().find(|slot| returns(index, stack, *slot));
    let chained = fp >= sp && fp.is_multiple_of(8) && leads_on(index, stack, fp);
    // A return address below the frame would be skipped.
    if chained && near.is_none_or(|slot| slot > fp) {
        return Some(Caller {
            return_address: stack.read(fp.checked_add(8)?)?,
            sp: fp.checked_add(16)?,
            fp: stack.read(fp)?,
            searched: false,
        });
    }
    let slot = near?;
    Some(Caller {
        return_address: stack.read(slot)?,
        sp: slot.checked_add(8)?,
        fp,
        searched: false,
    })
}

/// Whether `frame` is one: what is called from known code, or from code made at run time by a frame
/// that lies further up.
fn leads_on(index: &CodeIndex, stack: &CopiedStack<'_>, frame: u64) -> bool {
    let Some(slot) = frame.checked_add(8) else {
        return false;
    };
    let made = || {
        let address = stack.read(slot)?.wrapping_sub(1);
        let code = index.find(address)?;
        let further = stack.read(frame)? > slot;
        Some(code.mapping.backing == Backing::Anonymous && further)
    };
    returns(index, stack, slot) || made().unwrap_or(false)
}

/// The caller of a function that keeps nothing on the stack.
pub(super) fn leaf_caller(
    index: &CodeIndex,
    stack: &CopiedStack<'_>,
    sp: u64,
    fp: u64,
) -> Option<Caller> {
    let caller = Caller {
        return_address: stack.read(sp)?,
        sp: sp.checked_add(8)?,
        fp,
        searched: false,
    };
    returns(index, stack, sp).then_some(caller)
}

fn slots(from: u64, to: u64) -> impl Iterator<Item = u64> {
    (from..to).step_by(8)
}

/// Whether the stack at `slot` holds an address that follows a call instruction.
fn returns(index: &CodeIndex, stack: &CopiedStack<'_>, slot: u64) -> bool {
    let address = stack.read(slot);
    address.is_some_and(|address| calls::follows_call(index, address))
}
