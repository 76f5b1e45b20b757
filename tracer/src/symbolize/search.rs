//! The caller of a function that no table describes, found on the stack: musl's system call
//! wrappers, assembly. Accepts only an address that a call instruction returns to, close above the
//! stack pointer, where these small functions leave no room for leftovers of earlier calls.

use super::code::{Code, CodeIndex, CopiedStack};
use super::maps::Backing;

/// musl needs up to 100 bytes from the system call to the caller of `recv`.
const REACH: u64 = 256;
/// The longest call instruction on `x86_64`: prefix, opcode, SIB byte, 32-bit displacement.
const LONGEST_CALL: usize = 7;

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
    sp: u64,
    fp: u64,
) -> Option<Caller> {
    let above = fp >= sp && fp < u64::MAX - 16;
    let chained = Some(fp).filter(|frame| above && returns(index, stack, *frame + 8));
    let nearest = slots(sp, sp.saturating_add(REACH)).find(|slot| returns(index, stack, *slot));
    // Frame pointers are believed only when nothing below them looks like a return address:
    // otherwise the register is a caller's and functions would be skipped.
    if let Some(frame) = chained
        && !slots(sp, frame).any(|slot| returns(index, stack, slot))
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
    let Some(address) = stack.read(slot) else {
        return false;
    };
    let code = index.find(address.wrapping_sub(1));
    code.and_then(|code| bytes_before(code, address))
        .is_some_and(ends_with_call)
}

fn bytes_before(code: &Code, address: u64) -> Option<[u8; LONGEST_CALL]> {
    let mut bytes = [0; LONGEST_CALL];
    let begin = address.checked_sub(LONGEST_CALL as u64)?;
    code.read(begin, &mut bytes).then_some(bytes)
}

/// `call rel32` (E8) and the indirect forms of `call` (FF /2) by length; `bN` is N bytes before the
/// return address.
fn ends_with_call(bytes: [u8; LONGEST_CALL]) -> bool {
    let [b7, b6, b5, b4, b3, b2, b1] = bytes;
    let indirect = |opcode: u8, modrm: u8, mode: u8, sib: bool| {
        let form = modrm >> 6 == mode && (modrm >> 3) & 7 == 2;
        opcode == 0xff && form && (modrm & 7 == 4) == sib
    };
    // Without a displacement, base 5 means a 32-bit one instead: that form has six bytes.
    let plain = indirect(b2, b1, 0, false) && b1 & 7 != 5;
    b5 == 0xe8
        || (b6 == 0xff && b5 == 0x15)
        || (b2 == 0xff && b1 >> 3 == 0b11_010)
        || plain
        || indirect(b3, b2, 0, true)
        || indirect(b3, b2, 1, false)
        || indirect(b4, b3, 1, true)
        || indirect(b6, b5, 2, false)
        || indirect(b7, b6, 2, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_instructions_are_told_from_others() {
        for (code, call) in [
            (&[0xe8, 1, 2, 3, 4][..], true),         // call rel32
            (&[0xff, 0xd0], true),                   // call *%rax
            (&[0x41, 0xff, 0xd4], true),             // call *%r12
            (&[0xff, 0x10], true),                   // call *(%rax)
            (&[0xff, 0x14, 0xc7], true),             // call *(%rdi,%rax,8)
            (&[0xff, 0x50, 8], true),                // call *8(%rax)
            (&[0xff, 0x54, 0x24, 8], true),          // call *8(%rsp)
            (&[0xff, 0x15, 1, 2, 3, 4], true),       // call *disp(%rip)
            (&[0xff, 0x90, 1, 2, 3, 4], true),       // call *disp(%rax)
            (&[0xff, 0x94, 0xc7, 1, 2, 3, 4], true), // call *disp(%rdi,%rax,8)
            (&[0xff, 0xe0], false),                  // jmp *%rax
            (&[0xe9, 1, 2, 3, 4], false),            // jmp rel32
            (&[0x0f, 0x05], false),                  // syscall
            (&[0x55], false),                        // push %rbp
        ] {
            let mut bytes = [0x90; LONGEST_CALL];
            bytes[LONGEST_CALL - code.len()..].copy_from_slice(code);
            assert_eq!(ends_with_call(bytes), call, "{code:x?}");
        }
    }
}
