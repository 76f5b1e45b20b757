//! User side of the kernel's socket table: sweep the keys for stuck sockets, read the records of those.
//! How the table works: `tracer_common::table`.

use std::collections::BTreeSet;

use aya::maps::{Array, MapData, MapError};
use tracer_common::{
    state::{CLOSE, CLOSE_WAIT},
    table::{SETS_PER_CHUNK, SLOTS, Slot, SlotRecord, set_index},
};
use zerocopy::{FromBytes, IntoBytes};

use super::object::Chunk;
use crate::model::{
    input::{Activity, StuckCandidate},
    socket::{Endpoints, Entry, History, LastOperation},
};

/// One system call each: 65,536 take about 50 ms.
pub const MAX_LOOKED_AT: usize = 65_536;
const RECORD_WORDS: usize = size_of::<SlotRecord>() / 8;

pub struct Table {
    sets: Array<MapData, Chunk>,
    record: Array<MapData, [u64; RECORD_WORDS]>,
    set_mask: u32,
    /// The keys as of the last sweep.
    swept: Vec<Box<Chunk>>,
}

impl Table {
    pub fn new(
        sets: Array<MapData, Chunk>,
        record: Array<MapData, [u64; RECORD_WORDS]>,
        slots: u32,
    ) -> Self {
        Self {
            sets,
            record,
            set_mask: slots / SLOTS as u32 - 1,
            swept: Vec::new(),
        }
    }

    /// Reads all keys and returns the sockets that have been stuck for `grace_ns` and that
    /// `is_known` does not know yet.
    pub fn sweep(
        &mut self,
        now: u64,
        grace_ns: u64,
        is_known: impl Fn(u64) -> bool,
    ) -> Result<Vec<StuckCandidate>, MapError> {
        self.swept.clear();
        for index in 0..self.sets.len() {
            self.swept.push(Box::new(self.sets.get(&index, 0)?));
        }
        let mut candidate = Vec::new();
        for (chunk, words) in self.swept.iter().enumerate() {
            for (place, slot) in slots(words.as_slice()).enumerate() {
                let stuck = slot.state() == CLOSE_WAIT || slot.state() == CLOSE;
                let age = now.saturating_sub(slot.since());
                if slot.key == 0 || !stuck || age < grace_ns || is_known(slot.key) {
                    continue;
                }
                let index = chunk * SETS_PER_CHUNK * SLOTS + place;
                candidate.extend(admit_candidate(slot, &self.record_at(index as u32)?));
            }
        }
        Ok(candidate)
    }

    /// What the table knows of a socket, as of the last sweep; `None` if it has no place in it.
    pub fn history(&self, cookie: u64) -> Result<Option<History>, MapError> {
        let Some((index, _)) = self.find(cookie) else {
            return Ok(None);
        };
        Ok(Some(history(cookie, &self.record_at(index)?)))
    }

    /// All live sockets that one of these processes has touched, as of the last sweep; `None` when there are
    /// more than [`MAX_LOOKED_AT`] to look at, for a part of them would prove nothing.
    pub fn used_by(&self, pids: &BTreeSet<u32>) -> Result<Option<Vec<Activity>>, MapError> {
        let mut found = Vec::new();
        let mut left = MAX_LOOKED_AT;
        let taken = self.swept.iter().enumerate().flat_map(|(chunk, words)| {
            let index = move |place| chunk * SETS_PER_CHUNK * SLOTS + place;
            slots(words.as_slice())
                .enumerate()
                .filter(|(_, slot)| slot.key != 0)
                .map(move |(place, slot)| (index(place), slot))
        });
        for (index, slot) in taken {
            let Some(fewer) = left.checked_sub(1) else {
                return Ok(None);
            };
            left = fewer;
            let history = history(slot.key, &self.record_at(index as u32)?);
            let operations = [history.opened, history.used, history.eof];
            if operations
                .iter()
                .flatten()
                .any(|operation| pids.contains(&operation.pid))
            {
                found.push(Activity {
                    cookie: slot.key,
                    history,
                });
            }
        }
        Ok(Some(found))
    }

    fn find(&self, cookie: u64) -> Option<(u32, Slot)> {
        let set = set_index(cookie, self.set_mask) as usize;
        let words = self.swept.get(set / SETS_PER_CHUNK)?;
        let first = (set % SETS_PER_CHUNK) * SLOTS;
        let (place, slot) = slots(words.get(first * 2..(first + SLOTS) * 2)?)
            .enumerate()
            .find(|(_, slot)| slot.key == cookie)?;
        Some(((set * SLOTS + place) as u32, slot))
    }

    fn record_at(&self, index: u32) -> Result<SlotRecord, MapError> {
        let words = self.record.get(&index, 0)?;
        Ok(record_of(&words))
    }
}

fn record_of(words: &[u64; RECORD_WORDS]) -> SlotRecord {
    // Equal sizes, so the read cannot fail; zeros hold no checksum and mean "unknown".
    SlotRecord::read_from_bytes(words.as_bytes())
        .unwrap_or_else(|_| zerocopy::FromZeros::new_zeroed())
}

fn slots(words: &[u64]) -> impl Iterator<Item = Slot> {
    words
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[key, since_state]| Slot {
            key: *key,
            since_state: *since_state,
        })
}

fn history(cookie: u64, record: &SlotRecord) -> History {
    History {
        opened: LastOperation::from_wire(cookie, &record.opened),
        used: LastOperation::from_wire(cookie, &record.used),
        eof: LastOperation::from_wire(cookie, &record.eof),
    }
}

/// A slot and its record as a socket to follow. `None` when the name's checksum does not hold: torn, or of
/// another socket; the next sweep or inventory finds the truth.
pub fn admit_candidate(slot: Slot, record: &SlotRecord) -> Option<StuckCandidate> {
    if !record.name.holds(slot.key) {
        return None;
    }
    let entry = tracer_common::table::Entry::unpack(record.name.entry);
    Some(StuckCandidate {
        cookie: slot.key,
        state: slot.state(),
        since: slot.since(),
        netns: record.name.netns,
        endpoints: Endpoints::from_wire(&record.name.endpoints),
        entry: Entry {
            old_state: entry.old_state,
            error: entry.error,
            shutdown: entry.shutdown,
            only_fin_unread: entry.only_fin_unread,
        },
        history: history(slot.key, record),
    })
}

/// The operations of an evicted socket, whether or not it was stuck.
pub fn slots_evicted(slot: Slot, record: &SlotRecord) -> (u64, History) {
    (slot.key, history(slot.key, record))
}
