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

    /// Breaks the seals of whatever is known.
    #[inline(always)]
    fn forget(self) {
        if let Ok(facts) = self.facts() {
            // SAFETY: a valid map element.
            let facts = unsafe { &mut *facts };
            facts.name.seal = 0;
            facts.opened.seal = 0;
            facts.used.seal = 0;
            facts.eof.seal = 0;
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
        if touch.holds(self.tag) { touch.stack } else { 0 }
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
    let set = set_index(cookie, SET_MASK.load());
    let chunk = SETS
        .get_ptr_mut(set / SETS_PER_CHUNK as u32)
        .ok_or(Skip::NoMap)?;
    let place = (set as usize & (SETS_PER_CHUNK - 1)) * WAYS;
    // SAFETY: the element holds SETS_PER_CHUNK sets and `place` is the first way of one.
    let ways = unsafe { chunk.cast::<Way>().add(place) };
    Ok((ways, set * WAYS as u32))
}

#[inline(always)]
pub fn find(cookie: u64) -> Result<Option<Slot>, Skip> {
    let (ways, first) = set_of(cookie)?;
    let mut i = 0;
    while i < WAYS {
        // SAFETY: four ways follow `ways`.
        let way = unsafe { ways.add(i) };
        // SAFETY: as above.
        if unsafe { (*way).tag } == cookie {
            return Ok(Some(Slot {
                way,
                index: first + i as u32,
                tag: cookie,
            }));
        }
        i += 1;
    }
    Ok(None)
}

/// The slot of the socket `cookie`; a free way, or one taken from another socket, when it has none yet.
#[inline(always)]
pub fn find_or_claim(cookie: u64, now: u64) -> Result<Slot, Skip> {
    match find(cookie)? {
        Some(slot) => Ok(slot),
        None => claim(cookie, now),
    }
}

#[inline(always)]
fn claim(cookie: u64, now: u64) -> Result<Slot, Skip> {
    let (ways, first) = set_of(cookie)?;
    let mut victim = (cookie >> 20) as usize & (WAYS - 1);
    let mut i = 0;
    while i < WAYS {
        // SAFETY: four ways follow `ways`.
        let way = unsafe { *ways.add(i) };
        if way.tag == 0 {
            return Ok(fresh(ways, first, i, cookie));
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
    Ok(fresh(ways, first, victim, cookie))
}

#[inline(always)]
fn fresh(ways: *mut Way, first: u32, i: usize, cookie: u64) -> Slot {
    // SAFETY: callers pass i < WAYS.
    let way = unsafe { ways.add(i & (WAYS - 1)) };
    let slot = Slot {
        way,
        index: first + i as u32,
        tag: cookie,
    };
    // The facts of an earlier socket need no clearing: their seals do not hold for this one. Only where
    // a socket is known by its address they do, once the address is given to the next.
    if g::HAS_COOKIE.load() == 0 {
        slot.forget();
    }
    // SAFETY: as above.
    unsafe {
        (*way).since_state = 0;
        (*way).tag = cookie;
    }
    slot
}
