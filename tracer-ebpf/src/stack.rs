//! User stacks: a cheap key at every call, a copy of the stack the first time a key is seen.
//!
//! The key hashes the process, the pc of the system call, the place of sp in its page (equal for all
//! threads that took the same path, because thread stacks are page-aligned) and the words next to sp
//! that look like code addresses: the direct callers. Equal keys are taken for equal stacks; a key is
//! copied again after a minute, and user space keeps only the frames on which all copies agree.
//!
//! Busy places are not even read: thread, pc and sp stand for the key for ten milliseconds. Two paths
//! of one thread that share all three are found out by the next reading and read always from then on.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_probe_read_user};
use tracer_common::{
    config::{STACK_REFRESH_NS, STACKS_BURST, STACKS_PER_SECOND},
    counter::Counter,
    event::{Header, KIND_STACK, PAGE, STACK_PAGES, StackCopy},
};

use crate::{
    current_task::{CurrentTask, task, user_regs},
    globals as g,
    maps::{BUCKETS, Bucket, CALLS, CALLS_PER_CPU, Call, SEEN, SEEN_BUCKETS, STACKS, SeenKey},
    skip::count,
};

/// 64 bytes: the frame of libc's system call wrappers and the address they return to, which is the
/// direct caller. More would be more exact and cost every read of the machine.
const WORDS: usize = 8;

/// How long a place stands for its key without being read again: rarely called places are read every
/// time, busy ones a hundred times a second.
const BELIEVE_NS: u64 = 10_000_000;

#[derive(Clone, Copy)]
struct Regs {
    pc: u64,
    sp: u64,
}

/// The key of the current user stack, or 0. Sends a copy when the key is new.
#[inline(always)]
pub fn key(current: CurrentTask, kind: u32, now: u64) -> u64 {
    stack_key(current.ids(), current.flags, kind, now)
}

/// A global function to the verifier, checked once and not at every call.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn stack_key(ids: u64, flags: u32, kind: u32, now: u64) -> u64 {
    let current = CurrentTask::of(ids, flags);
    if g::HAS_REGS.load() == 0 || !current.has_user_stack() {
        count(Counter::StackNone);
        return 0;
    }
    let regs = user_regs();
    let regs = Regs {
        pc: regs.field(&g::OFF_REGS_PC),
        sp: regs.field(&g::OFF_REGS_SP),
    };
    if regs.sp == 0 {
        count(Counter::StackNone);
        return 0;
    }
    // Reading user memory costs more than all the rest of a hook, so a thread that comes again from
    // the same place with the same depth is believed for a moment.
    let place = mix(u64::from(current.tid) ^ regs.sp, regs.pc);
    let Some(call) = CALLS.get_ptr_mut((place >> 54) as u32 & (CALLS_PER_CPU - 1)) else {
        count(Counter::NoMap);
        return 0;
    };
    // SAFETY: a valid element of this CPU; `is_of` refuses what a preempted writer left half done.
    let call = unsafe { &mut *call };
    let known = call.is_of(place);
    if known && !call.ambiguous() && now.wrapping_sub(call.at) < BELIEVE_NS {
        return call.key();
    }
    let key = fingerprint(current.tgid, &regs);
    // Two paths with one pc and one sp: from now on every call of this place is read.
    let ambiguous = known && (call.ambiguous() || call.key() != key);
    *call = Call::new(place, key, now, ambiguous);
    if is_new(key, now) {
        copy(key, current, kind, now, &regs);
    }
    key
}

#[inline(always)]
fn fingerprint(tgid: u32, regs: &Regs) -> u64 {
    let mm = task().follow(&g::OFF_TASK_MM);
    let text: u64 = mm.field(&g::OFF_MM_START_CODE);
    let text_len = mm.field::<u64>(&g::OFF_MM_END_CODE).wrapping_sub(text);
    let mut words = [0u64; WORDS];
    // SAFETY: the destination is WORDS words; the helper checks the source. A failed read leaves
    // zeros, and the registers alone make the key.
    unsafe {
        bpf_probe_read_user(
            words.as_mut_ptr().cast(),
            size_of::<[u64; WORDS]>() as u32,
            regs.sp as *const c_void,
        )
    };
    let mut hash = mix(
        u64::from(tgid) << 32 | (regs.sp & (PAGE as u64 - 1)),
        regs.pc,
    );
    let mut i = 0;
    while i < WORDS {
        let word = words[i];
        hash = mix(hash, code_word(word, text, text_len, regs.pc, regs.sp));
        i += 1;
    }
    // Bit 0 is set so that no key is 0; bit 1 is for `Call`.
    (hash | 1) & !2
}

/// The word if it is in the program's own text, or in the region of the shared libraries and odd enough
/// not to be a pointer to data: heap and structure pointers are multiples of eight, return addresses
/// rarely are. Else 0. A global function to the verifier, or it would follow each branch eight times over.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn code_word(word: u64, text: u64, text_len: u64, pc: u64, sp: u64) -> u64 {
    const NEAR: u64 = 1 << 20;
    let is_code = word.wrapping_sub(text) < text_len
        || (word & 7 != 0
            && (word ^ pc) >> 40 == 0
            && word.wrapping_sub(sp).wrapping_add(NEAR) > 2 * NEAR);
    if is_code { word } else { 0 }
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    let h = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    h ^ (h >> 29)
}

/// Two-way set of the keys copied lately. Races only cause a second copy.
#[inline(always)]
fn is_new(key: u64, now: u64) -> bool {
    let Some(bucket) = SEEN.get_ptr_mut((key >> 32) as u32 & (SEEN_BUCKETS - 1)) else {
        count(Counter::NoMap);
        return false;
    };
    // SAFETY: a valid map element; words are read whole.
    let [first, second] = unsafe { (*bucket).entry };
    let fresh = |seen: SeenKey| seen.key == key && now.wrapping_sub(seen.at) < STACK_REFRESH_NS;
    !(fresh(first) || fresh(second))
}

#[inline(always)]
fn remember(key: u64, now: u64) {
    let Some(bucket) = SEEN.get_ptr_mut((key >> 32) as u32 & (SEEN_BUCKETS - 1)) else {
        return;
    };
    // SAFETY: a valid map element.
    let entry = unsafe { &mut (*bucket).entry };
    let place = if entry[0].key == key || (entry[1].key != key && entry[0].at <= entry[1].at) {
        &mut entry[0]
    } else {
        &mut entry[1]
    };
    place.key = key;
    place.at = now;
}

#[inline(never)]
fn copy(key: u64, current: CurrentTask, kind: u32, now: u64, regs: &Regs) {
    count(Counter::StackSeen);
    if !allowed(current.tgid, now) {
        count(Counter::StackLimited);
        return;
    }
    let Some(mut entry) = STACKS.reserve::<StackCopy>(0) else {
        count(Counter::StackLost);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record; every field before `pages` is written.
    unsafe {
        (*record).header = Header {
            kind: KIND_STACK,
            len: size_of::<StackCopy>() as u32,
            at: now,
        };
        (*record).key = key;
        (*record).pc = regs.pc;
        (*record).sp = regs.sp;
        (*record).fp = user_regs().field(&g::OFF_REGS_FP);
        (*record).lr = user_regs().field(&g::OFF_REGS_LR);
        (*record).start_boot = current.start_boot();
        (*record).tgid = current.tgid;
        (*record).tid = current.tid;
        (*record).kind = kind;
        bpf_get_current_comm((&raw mut (*record).comm).cast(), 16);
        (*record).valid_pages = copy_pages((&raw mut (*record).pages).cast(), regs.sp);
    }
    entry.submit(0);
    remember(key, now);
    count(Counter::StackSubmitted);
}

/// Copies page by page, because a read that meets an unmapped page gives nothing at all
/// (mm/maccess.c:copy_from_user_nofault). Returns the number of whole pages that can be used.
#[inline(always)]
fn copy_pages(to: *mut u8, sp: u64) -> u32 {
    let skip = (sp as usize) & (PAGE - 1);
    // SAFETY: `skip` is below PAGE, so the rest of the first page ends inside the first page.
    let failed = unsafe {
        bpf_probe_read_user(
            to.add(skip).cast(),
            (PAGE - skip) as u32,
            sp as *const c_void,
        )
    };
    if failed != 0 {
        return 0;
    }
    let first = sp & !(PAGE as u64 - 1);
    let mut page = 1;
    while page < STACK_PAGES {
        // SAFETY: `page` is below STACK_PAGES.
        let failed = unsafe {
            bpf_probe_read_user(
                to.add(page * PAGE).cast(),
                PAGE as u32,
                (first + (page * PAGE) as u64) as *const c_void,
            )
        };
        if failed != 0 {
            break;
        }
        page += 1;
    }
    page as u32
}

/// Token bucket per process, so that one with endless call paths cannot fill the ring.
#[inline(always)]
fn allowed(tgid: u32, now: u64) -> bool {
    const NS_PER_TOKEN: u64 = 1_000_000_000 / STACKS_PER_SECOND;
    let Some(bucket) = BUCKETS.get_ptr_mut(tgid) else {
        let full = Bucket {
            at: now,
            tokens: STACKS_BURST - 1,
        };
        let _full_map_evicts = BUCKETS.insert(tgid, full, 0);
        return true;
    };
    // SAFETY: a valid map element; races may grant a few copies more.
    let bucket = unsafe { &mut *bucket };
    let earned = now.saturating_sub(bucket.at) / NS_PER_TOKEN;
    if earned > 0 {
        bucket.at = now;
        bucket.tokens = (bucket.tokens + earned).min(STACKS_BURST);
    }
    if bucket.tokens == 0 {
        return false;
    }
    bucket.tokens -= 1;
    true
}
