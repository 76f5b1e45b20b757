//! User stacks: an exact key at every call, a copy of the stack where the key does not say it all.
//!
//! The key folds the return addresses of the first frames that count, each read at its own place
//! (`walk`). A whole key is copied the first time it is seen and again after a minute. Where the walk
//! met a frame it has no row for, the callers further out may be any: such calls get a key each, with
//! a copy of its own, as long as there is room for that; user space learns the missing rows from them.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{
    bpf_get_current_comm, bpf_probe_read_kernel, bpf_probe_read_user,
};
use tracer_common::{
    config::{PART_BURST, PART_REFRESH_NS, STACK_REFRESH_NS, STACKS_BURST, STACKS_PER_SECOND},
    counter::Counter,
    event::{Header, KIND_STACK, PAGE, STACK_PAGES, StackCopy},
    runtime::{KIND_HOTSPOT, KIND_V8, MANAGED_UNKNOWN},
    stack_key::{self, MAX_STEPS},
    unwind::layout,
};

use crate::{
    choice::{choose, if_equal},
    current_task::{CurrentTask, regs_of},
    desk::{self, Outcome},
    globals as g,
    java::walk_java,
    kread::{Ptr, Typed},
    maps::{BUCKETS, Bucket, SEEN, SEEN_BUCKETS, STACKS, SeenKey, WALKED},
    runtime::{find_runtime, goroutine_of, kind_of, walk_managed},
    skip::count,
    v8::walk_v8,
    walk::{walk_and_note, walk_stack},
};

/// What a call notes of its stack.
#[derive(Clone, Copy)]
pub struct Taken {
    pub key: u64,
    pub sp: u64,
    /// What a goroutine or a virtual thread has in place of the stack pointer; 0 where there is none.
    pub goroutine: u64,
}

impl Taken {
    pub const NOTHING: Self = Self {
        key: 0,
        sp: 0,
        goroutine: 0,
    };
}

/// The key of the current user stack, if there is one. Sends a copy where that is due.
#[inline(always)]
pub fn take(current: CurrentTask, kind: u32, now: u64) -> Taken {
    let Some(task) = current.with_user_stack() else {
        count(Counter::StackNone);
        return Taken::NOTHING;
    };
    let regs = regs_of(task);
    let sp = regs.field(&g::OFF_REGS_SP);
    if sp == 0 {
        count(Counter::StackNone);
        return Taken::NOTHING;
    }
    let layout = layout_of(task.follow(&g::OFF_TASK_MM));
    let (pc, fp) = (regs.field(&g::OFF_REGS_PC), regs.field(&g::OFF_REGS_FP));
    let runtime = find_runtime(layout);
    let (managed, goroutine) = if runtime != 0 {
        let thread = task.field(&g::OFF_TASK_TP);
        let managed = match kind_of(runtime) {
            KIND_HOTSPOT => walk_java(runtime, thread, sp, layout),
            KIND_V8 => walk_v8(runtime, sp, now),
            _ => walk_managed(runtime, thread),
        };
        (managed, goroutine_of(runtime, thread, sp))
    } else {
        (0, 0)
    };
    let ends_at = if managed != 0 { runtime } else { 0 };
    let departures = current.departures();
    let key = walk_stack(pc, sp, fp, layout, ends_at);
    // Else its piece of the stack may be another thread's by now.
    let stayed = if_equal(current.departures(), departures, u64::MAX);
    let only_the_call = stack_key::of_walk(stack_key::fold(0, pc), 0, false);
    let key = choose(stayed, key, only_the_call);
    let key = stack_key::below_managed(key, managed);
    let key = stack_key::in_process(key, current.tgid);
    if !is_due(key, now) {
        if !stack_key::is_whole(key) {
            count(Counter::StackShared);
        }
        return Taken { key, sp, goroutine };
    }
    // Here and not where it is copied: before 6.13 all that call each other share 512 bytes of stack.
    if kind_of(runtime) == KIND_V8 {
        walk_v8(runtime, sp, 0);
    }
    let how = u64::from(kind) | u64::from(ends_at != 0) << ENDS_SHIFT;
    let key = copy_stack(key, layout, runtime, how, now);
    Taken { key, sp, goroutine }
}

/// Inherited by fork; another program, or the same one started again, has another one.
#[inline(always)]
pub fn layout_of(mm: Ptr<Typed>) -> u64 {
    let executable = mm.follow(&g::OFF_MM_EXE_FILE);
    let inode = if executable.is_null() {
        0
    } else {
        executable
            .follow(&g::OFF_FILE_INODE)
            .field(&g::OFF_INODE_INO)
    };
    layout(
        mm.field(&g::OFF_MM_START_STACK),
        mm.field(&g::OFF_MM_START_CODE),
        inode,
    )
}

/// Two-way set of the keys copied lately. Races only cause another copy.
#[inline(always)]
fn is_due(key: u64, now: u64) -> bool {
    let Some(bucket) = SEEN.get_ptr_mut((key >> 32) as u32 & (SEEN_BUCKETS - 1)) else {
        count(Counter::NoMap);
        return false;
    };
    // SAFETY: a valid map element; words are read whole.
    let [first, second] = unsafe { (*bucket).entry };
    let lately = |seen: SeenKey| seen.key == key && now < seen.next;
    !(lately(first) || lately(second))
}

/// The key was copied now. Calls of a key that is not whole have credit for a burst.
#[inline(always)]
fn remember(key: u64, now: u64) {
    let Some(bucket) = SEEN.get_ptr_mut((key >> 32) as u32 & (SEEN_BUCKETS - 1)) else {
        return;
    };
    // SAFETY: a valid map element.
    let entry = unsafe { &mut (*bucket).entry };
    let place = if entry[0].key == key || (entry[1].key != key && entry[0].next <= entry[1].next) {
        &mut entry[0]
    } else {
        &mut entry[1]
    };
    let earliest = now.saturating_sub(PART_BURST * PART_REFRESH_NS);
    place.next = if stack_key::is_whole(key) {
        now + STACK_REFRESH_NS
    } else if place.key == key && place.next > earliest {
        place.next + PART_REFRESH_NS
    } else {
        earliest + PART_REFRESH_NS
    };
    place.key = key;
}

/// In what [`copy_stack`] is told beside the kind of call: the walk of native frames ends at the runtime's code.
const ENDS_SHIFT: u32 = 32;

/// Returns the key that the copy was sent under, or would have been. Global to the verifier, as are others (`table`).
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn copy_stack(key: u64, layout: u64, runtime: u64, how: u64, now: u64) -> u64 {
    let (kind, ends) = (how as u32, how >> ENDS_SHIFT != 0);
    let Ok(current) = CurrentTask::current() else {
        return key;
    };
    let Some(task) = current.with_user_stack() else {
        return key;
    };
    let whole = stack_key::is_whole(key);
    if whole {
        count(Counter::StackSeen);
    }
    if !allowed(current.tgid, now) {
        count(if whole {
            Counter::StackLimited
        } else {
            Counter::StackShared
        });
        return key;
    }
    let Some(mut entry) = STACKS.reserve::<StackCopy>(0) else {
        count(if whole {
            Counter::StackLost
        } else {
            Counter::StackShared
        });
        return key;
    };
    let own = if whole {
        key
    } else {
        stack_key::of_one_call(key, now, current.tid)
    };
    let regs = regs_of(task);
    let sp = regs.field(&g::OFF_REGS_SP);
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation has the size of the record; every field before `pages` is written.
    unsafe {
        (*record).header = Header {
            kind: KIND_STACK,
            len: size_of::<StackCopy>() as u32,
            at: now,
        };
        (*record).key = own;
        (*record).layout = layout;
        (*record).pc = regs.field(&g::OFF_REGS_PC);
        (*record).sp = sp;
        (*record).fp = regs.field(&g::OFF_REGS_FP);
        (*record).lr = regs.field(&g::OFF_REGS_LR);
        (*record).start_boot = current.start_boot();
        (*record).tgid = current.tgid;
        (*record).tid = current.tid;
        (*record).kind = kind;
        bpf_get_current_comm((&raw mut (*record).comm).cast(), 16);
        let ends_at = if ends { runtime } else { 0 };
        copy_walked(record, regs, layout, ends_at);
        copy_managed(record, runtime);
        (*record).valid_pages = copy_pages((&raw mut (*record).pages).cast(), sp);
    }
    entry.submit(0);
    remember(key, now);
    if whole {
        count(Counter::StackSubmitted);
    }
    own
}

/// Walks again for the return addresses: seldom enough, and the walk that every call pays for keeps none. They lie for a
/// moment where another task may write that gets this CPU meanwhile: user space compares them with the key.
#[inline(always)]
fn copy_walked(record: *mut StackCopy, regs: Ptr<Typed>, layout: u64, ends_at: u64) {
    let Some(walked) = WALKED.get_ptr_mut(0) else {
        return;
    };
    let (pc, sp) = (regs.field(&g::OFF_REGS_PC), regs.field(&g::OFF_REGS_SP));
    walk_and_note(pc, sp, regs.field(&g::OFF_REGS_FP), layout, ends_at);
    // SAFETY: both have that size. By a helper: word by word they would take up the stack.
    unsafe {
        bpf_probe_read_kernel(
            (&raw mut (*record).walked).cast(),
            size_of::<[u64; MAX_STEPS as usize]>() as u32,
            (&raw const (*walked).addresses).cast(),
        )
    };
}

/// What the walk for the key has left of the runtime's frames.
#[inline(always)]
fn copy_managed(record: *mut StackCopy, runtime: u64) {
    let outcome = if runtime == 0 {
        Outcome::of(MANAGED_UNKNOWN, 0)
    } else {
        // SAFETY: the reservation has the size of the record.
        desk::copy(unsafe { (&raw mut (*record).activations).cast() })
    };
    // SAFETY: as above.
    unsafe {
        (*record).managed = outcome.how;
        (*record).managed_frames = outcome.frames;
        (*record).managed_from = outcome.from;
    }
}

/// Copies page by page, because a read that meets an unmapped page gives nothing at all
/// (mm/maccess.c:copy_from_user_nofault). A page among them that the program has never written to is left as the helper
/// leaves it, all zero, which is what such a page holds; in one that was swapped out no return address is
/// found then. Returns the number of whole pages that can be used.
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
    let (mut page, mut valid) = (1, 1);
    while page < STACK_PAGES {
        // SAFETY: `page` is below STACK_PAGES.
        let failed = unsafe {
            bpf_probe_read_user(
                to.add(page * PAGE).cast(),
                PAGE as u32,
                (first + (page * PAGE) as u64) as *const c_void,
            )
        };
        page += 1;
        if failed == 0 {
            valid = page;
        }
    }
    valid as u32
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
