//! Leaves a signal handler: the kernel put the interrupted registers on the stack, in a layout that
//! never changes. Knows the place by its code, because tables are often missing or odd there.

use super::code::{Code, CopiedStack};

/// `mov $15, %rax; syscall`, where handlers return to: `rt_sigreturn`. glibc has the longer form of
/// the first instruction, musl either.
const RETURNS: [&[u8]; 2] = [
    &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
    &[0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05],
];
/// `struct ucontext` on `x86_64` (`arch/x86/include/uapi/asm/sigcontext.h`), from the stack pointer
/// that the handler leaves behind.
const RBP: u64 = 120;
const RSP: u64 = 160;
const RIP: u64 = 168;

pub(super) struct Interrupted {
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
}

/// Is this where signal handlers return to? Reads the file.
pub(super) fn is_return(code: &Code, address: u64) -> bool {
    RETURNS
        .iter()
        .any(|bytes| starts_with(code, address, bytes))
}

/// What ran when the signal came, with the stack pointer that its handler leaves behind.
pub(super) fn interrupted(stack: &CopiedStack<'_>, sp: u64) -> Option<Interrupted> {
    let register = |at| stack.read(sp.checked_add(at)?);
    Some(Interrupted {
        pc: register(RIP)?,
        sp: register(RSP)?,
        fp: register(RBP)?,
    })
}

fn starts_with(code: &Code, address: u64, bytes: &[u8]) -> bool {
    let mut found = [0; 9];
    let found = found.get_mut(..bytes.len());
    found.is_some_and(|found| code.read(address, found) && found == bytes)
}
