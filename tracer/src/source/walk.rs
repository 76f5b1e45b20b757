//! The kernel program's walk of a stack, repeated on a copy of it: does the key say what the rows say
//! now? The same steps as `tracer-ebpf/src/walk.rs`.

use tracer_common::{
    event::StackCopy,
    stack_key::{self, MAX_STEPS},
    unwind::{C_LIBRARY_SHIFT, FP_SHIFT, KIND_FP, KIND_OUTERMOST, KIND_SHIFT, KIND_SP},
};

const MAX_FRAME: u64 = 1 << 20;

pub struct Walked {
    /// The system call's and all return addresses found.
    pub addresses: Vec<u64>,
    /// It ended where there is no row.
    pub missing: bool,
}

/// `rule` gives the packed rule of a code address; `is_end` says of what code the frames of a runtime tell.
pub fn repeat(
    copy: &StackCopy,
    rule: impl Fn(u64) -> Option<u64>,
    is_end: impl Fn(u64) -> bool,
) -> Walked {
    let mut walked = Walked {
        addresses: vec![copy.pc],
        missing: false,
    };
    let walked_then = copy.walked();
    let (mut address, mut cfa) = (copy.pc, copy.sp);
    let (mut fp, mut fp_slot) = (copy.fp, None);
    let mut counted = 0;
    while walked.addresses.len() <= MAX_STEPS as usize {
        if is_end(address) {
            break;
        }
        let Some(rule) = rule(address) else {
            walked.missing = true;
            break;
        };
        counted = stack_key::count(counted, rule);
        let below_own = (rule >> C_LIBRARY_SHIFT) & 1 != 0 && counted != 0;
        let kind = (rule >> KIND_SHIFT) & 0xff;
        if stack_key::is_enough(counted) || below_own || kind == KIND_OUTERMOST {
            break;
        }
        let base = match kind {
            KIND_SP => cfa,
            KIND_FP => {
                if let Some(slot) = fp_slot.take() {
                    let Some(saved) = word(copy, slot) else {
                        break;
                    };
                    fp = saved;
                }
                fp
            }
            _ => break,
        };
        let next = base.wrapping_add_signed(i64::from((rule as u32).cast_signed()));
        let size = next.wrapping_sub(cfa);
        if size.wrapping_sub(8) >= MAX_FRAME || !next.is_multiple_of(8) {
            break;
        }
        // A frame may be larger than the copy.
        let beyond = || walked_then.get(walked.addresses.len() - 1).copied();
        let Some(return_address) = word(copy, next.wrapping_sub(8)).or_else(beyond) else {
            break;
        };
        let saved = ((rule >> FP_SHIFT) as u16).cast_signed();
        if saved != 0 {
            fp_slot = Some(next.wrapping_add_signed(i64::from(saved)));
        }
        (address, cfa) = (return_address, next);
        walked.addresses.push(address);
    }
    walked
}

/// Whether the copy's key was made of these addresses, as far as it is sure, and of the functions that came with it.
pub fn agrees(copy: &StackCopy, addresses: &[u64]) -> bool {
    let steps = stack_key::steps(copy.key) as usize;
    let folded = addresses.get(..=steps);
    folded.is_some_and(|folded| copy.is_key_of(folded.iter().copied()))
}

fn word(copy: &StackCopy, at: u64) -> Option<u64> {
    let offset = usize::try_from(at.checked_sub(copy.sp)?).ok()?;
    let bytes = copy.bytes().get(offset..offset.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}
