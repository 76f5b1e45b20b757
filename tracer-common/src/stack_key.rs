//! What a stack key says by itself. Two equal keys stand for one call path as far as the key is *sure*:
//! the code address of the system call and so many return addresses, each read at its exact place.
//!
//! A walk that ended where it should makes a *whole* key. Where a frame is met that nothing describes
//! yet, the rest of the stack may be one of several; such a key can carry a number of its own, and
//! then stands for one system call only, whose stack was copied.

use crate::unwind::{OWN_SHIFT, PACKAGE_SHIFT};

/// Return addresses a key takes in at most.
pub const MAX_STEPS: u32 = 16;
/// The application's own frames: with so many, the walk is over. Where it ends before, for no more return addresses are
/// taken in or nothing tells the next one, so many of packages and its own do as well.
pub const MAX_COUNTED: u64 = 4;
/// Own frames are counted here, and all that count below.
const OWN: u64 = 1 << 8;

/// Counts a frame of this rule (`unwind::Rule`); begins with 0.
#[inline(always)]
pub const fn count(counted: u64, rule: u64) -> u64 {
    let own = rule >> OWN_SHIFT & 1;
    counted + own * OWN + own + (rule >> PACKAGE_SHIFT & 1)
}

/// Whether enough is known of the application to end the walk.
#[inline(always)]
pub const fn is_enough(counted: u64) -> bool {
    counted >= MAX_COUNTED * OWN
}

/// Whether enough is known where the walk cannot go on.
#[inline(always)]
pub const fn will_do(counted: u64) -> bool {
    counted & (OWN - 1) >= MAX_COUNTED
}

const PRESENT: u64 = 1;
const STEPS_SHIFT: u32 = 1;
const STEPS_MASK: u64 = 31;
const WHOLE: u64 = 1 << 6;
const WHOLE_HASH: u64 = !0 << 7;
/// Bits 7 to 26 of a key that is not whole: which system call it is of, 0 is any.
const CALL_SHIFT: u32 = 7;
const CALL_MASK: u64 = 0xf_ffff;
const PART_HASH: u64 = !0 << 27;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash of the addresses met so far; begins with that of the system call.
#[inline(always)]
pub const fn fold(hash: u64, address: u64) -> u64 {
    (hash ^ address).wrapping_mul(MULTIPLIER) ^ (hash >> 31)
}

/// The key of a walk of `steps` return addresses.
#[inline(always)]
pub const fn of_walk(hash: u64, steps: u64, whole: bool) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let said = PRESENT | (steps & STEPS_MASK) << STEPS_SHIFT;
    if whole {
        (hash & WHOLE_HASH) | said | WHOLE
    } else {
        (hash & PART_HASH) | said
    }
}

/// The same path in another process has another key.
#[inline(always)]
pub const fn in_process(key: u64, tgid: u32) -> u64 {
    key ^ ((tgid as u64).wrapping_mul(MULTIPLIER) & PART_HASH)
}

/// What stands for frames of a runtime that are there and could not be read.
pub const UNREAD: u64 = 1;

/// Takes in a function of a language runtime and where it is executed, or that alone (`runtime::ALONE`); begins with 0.
#[inline(always)]
pub const fn fold_managed(hash: u64, code: u64, instruction: u64) -> u64 {
    // Without a branch: all bits, or none where the two highest are set.
    let kept = (((instruction >> 62) + 1) >> 2).wrapping_sub(1);
    fold(fold(hash, code & kept), instruction) | 2
}

/// The key of native calls below these frames of a runtime: their hash, 0 for none, or [`UNREAD`].
#[inline(always)]
pub const fn below_managed(key: u64, managed: u64) -> u64 {
    if managed == 0 {
        key
    } else if managed == UNREAD {
        key & (PART_HASH | STEPS_MASK << STEPS_SHIFT | PRESENT)
    } else {
        key ^ (managed.wrapping_mul(0xd6e8_feb8_6659_fd93) & PART_HASH)
    }
}

/// The key of this one system call, made at `at` by thread `tid`. `key` must not be whole.
#[inline(always)]
pub const fn of_one_call(key: u64, at: u64, tid: u32) -> u64 {
    let number = (at ^ (tid as u64) << 32).wrapping_mul(MULTIPLIER) >> 44;
    key | (number | 1) << CALL_SHIFT
}

/// Whether nothing further out could tell two paths with this key apart.
#[inline(always)]
pub const fn is_whole(key: u64) -> bool {
    key & WHOLE != 0
}

/// Whether the key stands for one system call.
#[inline(always)]
pub const fn is_of_one_call(key: u64) -> bool {
    !is_whole(key) && (key >> CALL_SHIFT) & CALL_MASK != 0
}

/// What is left without the number of the call: the key of all calls that agree as far as is sure.
#[inline(always)]
pub const fn of_any_call(key: u64) -> u64 {
    if is_whole(key) {
        key
    } else {
        key & !(CALL_MASK << CALL_SHIFT)
    }
}

/// How many return addresses are sure.
#[inline(always)]
pub const fn steps(key: u64) -> u32 {
    ((key >> STEPS_SHIFT) & STEPS_MASK) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::{Rule, Whose};

    fn walked(addresses: &[u64]) -> u64 {
        addresses.iter().copied().fold(0, fold)
    }

    #[test]
    fn a_key_says_how_sure_it_is() {
        let whole = in_process(of_walk(walked(&[0x40_1000, 0x40_2000]), 1, true), 77);
        assert!(is_whole(whole) && !is_of_one_call(whole));
        assert_eq!((steps(whole), of_any_call(whole)), (1, whole));
        let part = in_process(of_walk(walked(&[0x40_1000]), 16, false), 77);
        assert!(!is_whole(part) && !is_of_one_call(part));
        let one = of_one_call(part, 123_456_789, 78);
        assert!(is_of_one_call(one) && !is_whole(one));
        assert_eq!((of_any_call(one), steps(one)), (part, 16));
        assert_ne!(one, of_one_call(part, 123_456_790, 78));
        assert_ne!(one, of_one_call(part, 123_456_789, 79));
    }

    #[test]
    fn packages_do_where_nothing_else_is_found() {
        let counted = |whose: &[Whose]| {
            let rules = whose.iter().map(|whose| Rule {
                whose: *whose,
                ..Rule::UNDESCRIBED
            });
            rules.fold(0, |counted, rule| count(counted, rule.pack()))
        };
        let own = counted(&[Whose::Own; MAX_COUNTED as usize]);
        assert!(is_enough(own) && will_do(own));
        let packages = counted(&[Whose::Package; 15]);
        assert!(!is_enough(packages) && will_do(packages));
        let few = counted(&[Whose::Package, Whose::Own, Whose::Package, Whose::Library]);
        assert!(!is_enough(few) && !will_do(few) && few != 0);
        assert_eq!(counted(&[Whose::Library, Whose::CLibrary]), 0);
    }

    #[test]
    fn frames_of_a_runtime_make_other_keys() {
        let native = in_process(of_walk(walked(&[0x40_1000, 0x40_2000]), 1, true), 77);
        let one = fold_managed(fold_managed(0, 0x7f10, 4), 0x7f20, 8);
        let other = fold_managed(fold_managed(0, 0x7f10, 4), 0x7f20, 10);
        let (below_one, below_other) = (below_managed(native, one), below_managed(native, other));
        assert_ne!(below_one, below_other);
        assert!(is_whole(below_one) && steps(below_one) == 1);
        assert_eq!(below_managed(native, 0), native);
        let unread = below_managed(native, UNREAD);
        assert!(!is_whole(unread) && !is_of_one_call(unread) && steps(unread) == 1);
        assert!(is_of_one_call(of_one_call(unread, 5, 6)));
    }

    #[test]
    fn order_process_and_depth_make_other_keys() {
        let key = |addresses: &[u64]| of_walk(walked(addresses), addresses.len() as u64 - 1, true);
        let all = [
            key(&[0x7f00_0000_1000, 0x40_2000, 0x40_3000]),
            key(&[0x7f00_0000_1000, 0x40_3000, 0x40_2000]),
            key(&[0x7f00_0000_1000, 0x40_2000]),
            in_process(key(&[0x7f00_0000_1000, 0x40_2000]), 1),
            in_process(key(&[0x7f00_0000_1000, 0x40_2000]), 2),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|other| other != one));
        }
        assert_ne!(of_walk(0, 0, false), 0);
    }
}
