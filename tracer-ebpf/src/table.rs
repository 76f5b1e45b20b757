//! The socket table, kernel side: find, claim and free slots, write records with checksums.
//! The scheme and why it needs no lock: `tracer_common::table`.

use tracer_common::{
    counter::Counter,
    endpoint::Endpoints,
    state::{CLOSE, CLOSE_WAIT},
    table::{Entry, LastOperation, Name, SETS_PER_CHUNK, SLOTS, Slot, SlotRecord, set_index},
};

use crate::{
    choice::if_equal,
    emit,
    globals::{self as g, SET_MASK},
    maps::{RECORDS, SETS},
    skip::{Skip, count},
};

/// A slot and the place of its record.
#[derive(Clone, Copy)]
pub struct FoundSlot {
    slot: *mut Slot,
    index: u32,
    key: u64,
}

impl FoundSlot {
    #[inline(always)]
    pub fn slot(self) -> Slot {
        // SAFETY: points into a map element found by `find` or `claim`.
        unsafe { *self.slot }
    }

    #[inline(always)]
    pub fn set_state(self, state: u8, now: u64) {
        // SAFETY: as in `slot`; one aligned word.
        unsafe { (*self.slot).since_state = Slot::pack(now, state) };
    }

    #[inline(always)]
    pub fn free(self) {
        // SAFETY: as in `slot`.
        unsafe { (*self.slot).key = 0 };
    }

    #[inline(always)]
    fn record(self) -> Result<*mut SlotRecord, Skip> {
        RECORDS.get_ptr_mut(self.index).ok_or(Skip::NoMap)
    }

    /// Sends all that is known of the socket: user space may never have heard of it.
    #[inline(always)]
    pub fn tell(self, slot: Slot, now: u64) {
        if let Ok(record) = self.record() {
            emit::evict(slot, record, now);
        }
    }

    #[inline(always)]
    pub fn set_name(self, netns: u32, entry: Entry, endpoints: Endpoints) {
        if let Ok(record) = self.record() {
            // SAFETY: a valid map element.
            unsafe { (*record).name = Name::new(self.key, netns, entry, endpoints) };
        }
    }

    #[inline(always)]
    pub fn set_opened(self, operation: LastOperation) {
        if let Ok(record) = self.record() {
            // SAFETY: a valid map element.
            unsafe { (*record).opened = operation };
        }
    }

    /// The stack key of the call that opened the socket; 0 when that was not seen.
    #[inline(always)]
    pub fn opened_at(self) -> u64 {
        let Ok(record) = self.record() else {
            return 0;
        };
        // SAFETY: a valid map element.
        let operation = unsafe { &(*record).opened };
        if operation.holds(self.key) {
            operation.stack
        } else {
            0
        }
    }

    /// Its opening was seen, and no read or write since.
    #[inline(always)]
    pub fn is_untouched(self) -> bool {
        let Ok(record) = self.record() else {
            return false;
        };
        // SAFETY: a valid map element.
        let (opened, used, eof) = unsafe { (&(*record).opened, &(*record).used, &(*record).eof) };
        opened.holds(self.key) && !used.holds(self.key) && !eof.holds(self.key)
    }

    #[inline(always)]
    pub fn set_used(self, operation: LastOperation) {
        if let Ok(record) = self.record() {
            // SAFETY: a valid map element.
            unsafe { (*record).used = operation };
        }
    }

    #[inline(always)]
    pub fn set_eof(self, operation: LastOperation) {
        if let Ok(record) = self.record() {
            // SAFETY: a valid map element.
            unsafe { (*record).eof = operation };
        }
    }
}

/// The set of the socket `cookie`: four slots in one cache line, and the index of the first.
#[inline(always)]
fn set_of(cookie: u64) -> Result<(*mut Slot, u32), Skip> {
    let first = set_index(cookie, SET_MASK.load()) * SLOTS as u32;
    Ok((slot_at(first)?, first))
}

/// A slot by its index in the table.
#[inline(always)]
fn slot_at(index: u32) -> Result<*mut Slot, Skip> {
    let chunk = SETS
        .get_ptr_mut(index / SLOTS_PER_CHUNK)
        .ok_or(Skip::NoMap)?;
    let place = (index & (SLOTS_PER_CHUNK - 1)) as usize;
    // SAFETY: the element holds SLOTS_PER_CHUNK slots.
    Ok(unsafe { chunk.cast::<Slot>().add(place) })
}

const SLOTS_PER_CHUNK: u32 = (SETS_PER_CHUNK * SLOTS) as u32;

#[inline(always)]
pub fn find(cookie: u64) -> Result<Option<FoundSlot>, Skip> {
    let (slots, first) = set_of(cookie)?;
    let way = way_of(slots, cookie);
    if way == 0 {
        return Ok(None);
    }
    Ok(Some(found_slot(slots, first, way, cookie)))
}

/// The slot of the socket `cookie`; a free slot, or one taken from another socket, when it has none yet.
#[inline(always)]
pub fn find_or_claim(cookie: u64, now: u64) -> Result<FoundSlot, Skip> {
    let (slots, first) = set_of(cookie)?;
    let mut way = way_of(slots, cookie);
    if way == 0 {
        way = claim_slot(cookie, now);
    }
    if way == 0 {
        return Err(Skip::NoMap);
    }
    Ok(found_slot(slots, first, way, cookie))
}

#[inline(always)]
fn found_slot(slots: *mut Slot, first: u32, way: u64, cookie: u64) -> FoundSlot {
    let place = (way - 1) & (SLOTS as u64 - 1);
    FoundSlot {
        // SAFETY: four slots follow `slots`.
        slot: unsafe { slots.add(place as usize) },
        index: first + place as u32,
        key: cookie,
    }
}

/// One more than the place of the socket in its set, or 0. Without a branch: each slot would be a path of its own,
/// to the verifier, through all the rest of a program.
#[inline(always)]
fn way_of(slots: *mut Slot, cookie: u64) -> u64 {
    let mut way = 0;
    let mut i = 0;
    while i < SLOTS {
        // SAFETY: four slots follow `slots`; one aligned word.
        let key = unsafe { (*slots.add(i)).key };
        way |= if_equal(key, cookie, i as u64 + 1);
        i += 1;
    }
    way
}

/// A place for the socket `cookie`, which has none, as `way_of` gives it; 0 only when a map is not what it should be.
/// A global function to the verifier, which checks it once and takes its result for any number.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn claim_slot(cookie: u64, now: u64) -> u64 {
    let Ok((slots, first)) = set_of(cookie) else {
        return 0;
    };
    let mut victim = (cookie >> 20) as usize & (SLOTS - 1);
    let mut i = 0;
    while i < SLOTS {
        // SAFETY: four slots follow `slots`.
        let slot = unsafe { *slots.add(i) };
        if slot.key == 0 {
            return fresh(slots, first, i, cookie);
        }
        // A stuck socket is already known to user space, so its place costs least.
        if slot.state() == CLOSE_WAIT || slot.state() == CLOSE {
            victim = i;
        }
        i += 1;
    }
    count(Counter::SlotsEvicted);
    let index = first + victim as u32;
    if let Some(record) = RECORDS.get_ptr_mut(index) {
        // SAFETY: `victim` is below SLOTS.
        let slot = unsafe { *slots.add(victim) };
        emit::evict(slot, record, now);
    }
    fresh(slots, first, victim, cookie)
}

#[inline(always)]
fn fresh(slots: *mut Slot, first: u32, i: usize, cookie: u64) -> u64 {
    // SAFETY: callers pass i < SLOTS.
    let slot = unsafe { slots.add(i & (SLOTS - 1)) };
    let index = first + i as u32;
    // The facts of an earlier socket need no clearing: their checksums do not hold for this one. Only where
    // a socket is known by its address they do, once the address is given to the next.
    if g::HAS_COOKIE.load() == 0 {
        forget(index);
    }
    // SAFETY: as above.
    unsafe {
        (*slot).since_state = 0;
        (*slot).key = cookie;
    }
    i as u64 + 1
}

/// Breaks the checksums of whatever is known.
#[inline(always)]
fn forget(index: u32) {
    if let Some(record) = RECORDS.get_ptr_mut(index) {
        // SAFETY: a valid map element.
        let record = unsafe { &mut *record };
        record.name.checksum = 0;
        record.opened.checksum = 0;
        record.used.checksum = 0;
        record.eof.checksum = 0;
    }
}
