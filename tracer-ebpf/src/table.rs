//! The socket table, kernel side: find, claim and free ways, write sealed facts.
//! The scheme and why it needs no lock: `tracer_common::table`.

use tracer_common::{
    counter::Counter,
    endpoint::Endpoints,
    state::{CLOSE, CLOSE_WAIT},
    table::{Entry, Facts, Name, SETS_PER_CHUNK, Touch, WAYS, Way, set_index},
};

use crate::{
    emit,
    globals::{self as g, SET_MASK},
    maps::{FACTS, SETS},
    skip::{Skip, count},
};

/// A way and the place of its facts.
#[derive(Clone, Copy)]
pub struct Slot {
    way: *mut Way,
    index: u32,
    tag: u64,
}

impl Slot {
    #[inline(always)]
    pub fn way(self) -> Way {
        // SAFETY: points into a map element found by `find` or `claim`.
        unsafe { *self.way }
    }

    #[inline(always)]
    pub fn set_state(self, state: u8, now: u64) {
        // SAFETY: as in `way`; one aligned word.
        unsafe { (*self.way).since_state = Way::pack(now, state) };
    }

    #[inline(always)]
    pub fn free(self) {
        // SAFETY: as in `way`.
        unsafe { (*self.way).tag = 0 };
    }

    #[inline(always)]
    fn facts(self) -> Result<*mut Facts, Skip> {
        FACTS.get_ptr_mut(self.index).ok_or(Skip::NoMap)
    }

    #[inline(always)]
    pub fn set_name(self, netns: u32, entry: Entry, ends: Endpoints) {
        if let Ok(facts) = self.facts() {
            // SAFETY: a valid map element.
            unsafe { (*facts).name = Name::new(self.tag, netns, entry, ends) };
        }
    }

    #[inline(always)]
    pub fn set_opened(self, touch: Touch) {
        if let Ok(facts) = self.facts() {
            // SAFETY: a valid map element.
            unsafe { (*facts).opened = touch };
        }
    }

    /// The stack key of the call that opened the socket; 0 when that was not seen.
    #[inline(always)]
    pub fn opened_at(self) -> u64 {
        let Ok(facts) = self.facts() else {
            return 0;
        };
        // SAFETY: a valid map element.
        let touch = unsafe { &(*facts).opened };
        if touch.holds(self.tag) {
            touch.stack
        } else {
            0
        }
    }

    #[inline(always)]
    pub fn set_used(self, touch: Touch) {
        if let Ok(facts) = self.facts() {
            // SAFETY: a valid map element.
            unsafe { (*facts).used = touch };
        }
    }

    #[inline(always)]
    pub fn set_eof(self, touch: Touch) {
        if let Ok(facts) = self.facts() {
            // SAFETY: a valid map element.
            unsafe { (*facts).eof = touch };
        }
    }
}

/// The set of the socket `cookie`: four ways in one cache line, and the index of the first.
#[inline(always)]
fn set_of(cookie: u64) -> Result<(*mut Way, u32), Skip> {
    let first = set_index(cookie, SET_MASK.load()) * WAYS as u32;
    Ok((way_at(first)?, first))
}

/// A way by its index in the table.
#[inline(always)]
fn way_at(index: u32) -> Result<*mut Way, Skip> {
    let chunk = SETS
        .get_ptr_mut(index / WAYS_PER_CHUNK)
        .ok_or(Skip::NoMap)?;
    let place = (index & (WAYS_PER_CHUNK - 1)) as usize;
    // SAFETY: the element holds WAYS_PER_CHUNK ways.
    Ok(unsafe { chunk.cast::<Way>().add(place) })
}

const WAYS_PER_CHUNK: u32 = (SETS_PER_CHUNK * WAYS) as u32;

#[inline(always)]
pub fn find(cookie: u64) -> Result<Option<Slot>, Skip> {
    slot(cookie, find_way(cookie))
}

/// The slot of the socket `cookie`; a free way, or one taken from another socket, when it has none yet.
#[inline(always)]
pub fn find_or_claim(cookie: u64, now: u64) -> Result<Slot, Skip> {
    slot(cookie, find_or_claim_way(cookie, now))?.ok_or(Skip::NoMap)
}

#[inline(always)]
fn slot(cookie: u64, found: u64) -> Result<Option<Slot>, Skip> {
    if found == 0 {
        return Ok(None);
    }
    let index = (found - 1) as u32;
    Ok(Some(Slot {
        way: way_at(index)?,
        index,
        tag: cookie,
    }))
}

// The two functions that follow are global ones to the verifier, which checks them once and takes
// their result for any number. Inlined, each of the four ways would be a path of its own through all
// the rest of a program.

/// One more than the index of the way of `cookie`, or 0.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_way(cookie: u64) -> u64 {
    let Ok((ways, first)) = set_of(cookie) else {
        return 0;
    };
    let mut i = 0;
    while i < WAYS {
        // SAFETY: four ways follow `ways`.
        let way = unsafe { ways.add(i) };
        // SAFETY: as above.
        if unsafe { (*way).tag } == cookie {
            return u64::from(first) + i as u64 + 1;
        }
        i += 1;
    }
    0
}

/// As `find_way`, but 0 only when a map is not what it should be.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn find_or_claim_way(cookie: u64, now: u64) -> u64 {
    let found = find_way(cookie);
    if found != 0 {
        return found;
    }
    let Ok((ways, first)) = set_of(cookie) else {
        return 0;
    };
    let mut victim = (cookie >> 20) as usize & (WAYS - 1);
    let mut i = 0;
    while i < WAYS {
        // SAFETY: four ways follow `ways`.
        let way = unsafe { *ways.add(i) };
        if way.tag == 0 {
            return fresh(ways, first, i, cookie);
        }
        // A stuck socket is already known to user space, so its place costs least.
        if way.state() == CLOSE_WAIT || way.state() == CLOSE {
            victim = i;
        }
        i += 1;
    }
    count(Counter::Spilled);
    let index = first + victim as u32;
    if let Some(facts) = FACTS.get_ptr_mut(index) {
        // SAFETY: `victim` is below WAYS.
        let way = unsafe { *ways.add(victim) };
        emit::spill(way, facts, now);
    }
    fresh(ways, first, victim, cookie)
}

#[inline(always)]
fn fresh(ways: *mut Way, first: u32, i: usize, cookie: u64) -> u64 {
    // SAFETY: callers pass i < WAYS.
    let way = unsafe { ways.add(i & (WAYS - 1)) };
    let index = first + i as u32;
    // The facts of an earlier socket need no clearing: their seals do not hold for this one. Only where
    // a socket is known by its address they do, once the address is given to the next.
    if g::HAS_COOKIE.load() == 0 {
        forget(index);
    }
    // SAFETY: as above.
    unsafe {
        (*way).since_state = 0;
        (*way).tag = cookie;
    }
    u64::from(index) + 1
}

/// Breaks the seals of whatever is known.
#[inline(always)]
fn forget(index: u32) {
    if let Some(facts) = FACTS.get_ptr_mut(index) {
        // SAFETY: a valid map element.
        let facts = unsafe { &mut *facts };
        facts.name.seal = 0;
        facts.opened.seal = 0;
        facts.used.seal = 0;
        facts.eof.seal = 0;
    }
}
