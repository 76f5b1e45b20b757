//! Whether a call instruction can have led to the code that runs. What lies on the stack may be the
//! return address of an earlier call: it names a function that was there once and is not any more.

use std::sync::Arc;

use super::code::{Code, CodeIndex};

/// The longest call instruction on `x86_64`: prefix, opcode, SIB byte, 32-bit displacement.
const LONGEST_CALL: usize = 7;
/// Functions that no table describes are small: wrappers of system calls, assembly.
const LONGEST_FUNCTION: u64 = 1024;
/// As far as a function may go before it hands over to another one with a jump.
const JUMPS_WITHIN: usize = 64;

/// An address that follows a call instruction.
pub(super) fn follows_call(index: &CodeIndex, address: u64) -> bool {
    before(index, address).is_some_and(|(_, bytes)| ends_with_call(bytes))
}

/// The same, and that call can have led to `here`. What an indirect call leads to is not known.
pub(super) fn can_have_led(index: &CodeIndex, address: u64, here: u64) -> bool {
    let Some((code, bytes)) = before(index, address) else {
        return false;
    };
    if !ends_with_call(bytes) {
        return false;
    }
    let [_, _, opcode, displacement @ ..] = bytes;
    // What a program's entry has called never returned, whatever jumps came after.
    if opcode != 0xe8 || code.is_entry(address) {
        return true;
    }
    let target = address.wrapping_add_signed(i64::from(i32::from_le_bytes(displacement)));
    let Some(entered) = index.find(target) else {
        return false;
    };
    // Into another file a call leads through a stub of the linker in its own.
    let own = index.find(here).is_some_and(|own| same_file(own, code));
    !own || contains(target, here) || jumps_on(entered, target, here)
}

fn contains(function: u64, here: u64) -> bool {
    (function..function.saturating_add(LONGEST_FUNCTION)).contains(&here)
}

/// Whether a jump near the start of `function` leads to `here`, as when its last act is a call. May
/// take data for a jump, and then believes too much, as without it.
fn jumps_on(code: &Code, function: u64, here: u64) -> bool {
    let mut bytes = [0; JUMPS_WITHIN + 5];
    if !code.read(function, &mut bytes) {
        return true;
    }
    (1..).zip(bytes.windows(5)).any(|(next, bytes)| {
        let [opcode, near, displacement @ ..] = bytes else {
            return false;
        };
        let to = |length: u64, by: i64| {
            let after = function.wrapping_add(next - 1 + length);
            contains(after.wrapping_add_signed(by), here)
        };
        match opcode {
            // A stub of the linker: anywhere.
            0xff => *near == 0x25,
            0xeb => to(2, i64::from(near.cast_signed())),
            0xe9 => {
                let [b, c, d] = displacement else {
                    return false;
                };
                to(5, i64::from(i32::from_le_bytes([*near, *b, *c, *d])))
            }
            _ => false,
        }
    })
}

fn same_file(one: &Code, other: &Code) -> bool {
    let images = one.image.as_ref().zip(other.image.as_ref());
    images.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
}

fn before(index: &CodeIndex, address: u64) -> Option<(&Code, [u8; LONGEST_CALL])> {
    let code = index.find(address.wrapping_sub(1))?;
    let mut bytes = [0; LONGEST_CALL];
    let begin = address.checked_sub(LONGEST_CALL as u64)?;
    code.read(begin, &mut bytes).then_some((code, bytes))
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
