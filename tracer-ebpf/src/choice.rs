//! A choice without a branch. Each branch would double the paths that the verifier follows, through all the rest of
//! a program, and the compiler makes one of everything that it recognizes as a comparison.

/// `then` where both are equal, else 0.
#[inline(always)]
pub fn if_equal(one: u64, other: u64, then: u64) -> u64 {
    then & hidden(differ(one, other)).wrapping_sub(1)
}

/// 1 where they differ, else 0.
#[inline(always)]
pub fn differ(one: u64, other: u64) -> u64 {
    let differs = hidden(one ^ other);
    hidden(differs | differs.wrapping_neg()) >> 63
}

/// The first where all bits are set, the other where none is.
#[inline(always)]
pub fn choose(bits: u64, one: u64, other: u64) -> u64 {
    let bits = hidden(bits);
    one & bits | other & !bits
}

/// All bits where one is less than the other, else none. Both are addresses of user space, or their sum with an offset.
#[inline(always)]
pub fn if_below(one: u64, other: u64) -> u64 {
    (hidden(one.wrapping_sub(other)) >> 63).wrapping_neg()
}

/// The same number, of which the verifier knows nothing any more: paths that differ in it alone are one from here on.
/// A call, so not for what every connection does.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn unknown(number: u64) -> u64 {
    hidden(number)
}

/// As [`unknown`], without a call: the verifier follows no relation between two numbers, and `noise` is any that it
/// knows nothing of.
#[inline(always)]
pub fn forgotten(number: u64, noise: u64) -> u64 {
    hidden(number ^ noise) ^ noise
}

/// The same number, of which the compiler knows nothing any more.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn hidden(mut number: u64) -> u64 {
    // SAFETY: moves a register to itself.
    unsafe {
        core::arch::asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags));
    }
    number
}

#[cfg(not(target_arch = "bpf"))]
pub fn hidden(number: u64) -> u64 {
    number
}
