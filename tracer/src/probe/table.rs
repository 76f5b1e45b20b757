//! User side of the kernel's socket table: sweep the tags for stuck sockets, read the facts of those.
//! How the table works: `tracer_common::table`.

use std::collections::BTreeSet;

use aya::maps::{Array, MapData, MapError};
use tracer_common::{
    state::{CLOSE, CLOSE_WAIT},
    table::{Facts, SETS_PER_CHUNK, WAYS, Way, set_index},
};
use zerocopy::{FromBytes, IntoBytes};

use super::object::Chunk;
use crate::model::{
    input::{Activity, Promoted},
    socket::{Ends, Entry, History, Touch},
};

/// One system call each: 65,536 take about 50 ms.
pub const MAX_LOOKED_AT: usize = 65_536;
const FACT_WORDS: usize = size_of::<Facts>() / 8;

pub struct Table {
    sets: Array<MapData, Chunk>,
    facts: Array<MapData, [u64; FACT_WORDS]>,
    set_mask: u32,
    /// The tags as of the last sweep.
    swept: Vec<Box<Chunk>>,
}

impl Table {
    pub fn new(
        sets: Array<MapData, Chunk>,
        facts: Array<MapData, [u64; FACT_WORDS]>,
        ways: u32,
    ) -> Self {
        Self {
            sets,
            facts,
            set_mask: ways / WAYS as u32 - 1,
            swept: Vec::new(),
        }
    }

    /// Reads all tags and returns the sockets that have been stuck for `grace_ns` and that
    /// `is_known` does not know yet.
    pub fn sweep(
        &mut self,
        now: u64,
        grace_ns: u64,
        is_known: impl Fn(u64) -> bool,
    ) -> Result<Vec<Promoted>, MapError> {
        self.swept.clear();
        for index in 0..self.sets.len() {
            self.swept.push(Box::new(self.sets.get(&index, 0)?));
        }
        let mut promoted = Vec::new();
        for (chunk, words) in self.swept.iter().enumerate() {
            for (place, way) in ways(words).enumerate() {
                let stuck = way.state() == CLOSE_WAIT || way.state() == CLOSE;
                let age = now.saturating_sub(way.since());
                if way.tag == 0 || !stuck || age < grace_ns || is_known(way.tag) {
                    continue;
                }
                let index = chunk * SETS_PER_CHUNK * WAYS + place;
                promoted.extend(promote(way, &self.facts_at(index as u32)?));
            }
        }
        Ok(promoted)
    }

    /// What the table knows of a socket, as of the last sweep; `None` if it has no place in it.
    pub fn history(&self, cookie: u64) -> Result<Option<History>, MapError> {
        let Some((index, _)) = self.find(cookie) else {
            return Ok(None);
        };
        Ok(Some(history(cookie, &self.facts_at(index)?)))
    }

    /// All live sockets that one of these processes has touched, as of the last sweep; `None` when there are
    /// more than [`MAX_LOOKED_AT`] to look at, for a part of them would prove nothing.
    pub fn touched_by(&self, pids: &BTreeSet<u32>) -> Result<Option<Vec<Activity>>, MapError> {
        let mut found = Vec::new();
        let mut left = MAX_LOOKED_AT;
        let taken = self.swept.iter().enumerate().flat_map(|(chunk, words)| {
            let index = move |place| chunk * SETS_PER_CHUNK * WAYS + place;
            ways(words)
                .enumerate()
                .filter(|(_, way)| way.tag != 0)
                .map(move |(place, way)| (index(place), way))
        });
        for (index, way) in taken {
            let Some(fewer) = left.checked_sub(1) else {
                return Ok(None);
            };
            left = fewer;
            let history = history(way.tag, &self.facts_at(index as u32)?);
            let touches = [history.opened, history.used, history.eof];
            if touches
                .iter()
                .flatten()
                .any(|touch| pids.contains(&touch.pid))
            {
                found.push(Activity {
                    cookie: way.tag,
                    history,
                });
            }
        }
        Ok(Some(found))
    }

    fn find(&self, cookie: u64) -> Option<(u32, Way)> {
        let set = set_index(cookie, self.set_mask) as usize;
        let words = self.swept.get(set / SETS_PER_CHUNK)?;
        let first = (set % SETS_PER_CHUNK) * WAYS;
        let (place, way) = ways(words)
            .skip(first)
            .take(WAYS)
            .enumerate()
            .find(|(_, way)| way.tag == cookie)?;
        Some(((set * WAYS + place) as u32, way))
    }

    fn facts_at(&self, index: u32) -> Result<Facts, MapError> {
        let words = self.facts.get(&index, 0)?;
        Ok(facts_of(&words))
    }
}

fn facts_of(words: &[u64; FACT_WORDS]) -> Facts {
    // Equal sizes, so the read cannot fail; zeros hold no seal and mean "unknown".
    Facts::read_from_bytes(words.as_bytes()).unwrap_or_else(|_| zerocopy::FromZeros::new_zeroed())
}

fn ways(words: &Chunk) -> impl Iterator<Item = Way> {
    words
        .as_chunks::<2>()
        .0
        .iter()
        .map(|[tag, since_state]| Way {
            tag: *tag,
            since_state: *since_state,
        })
}

fn history(cookie: u64, facts: &Facts) -> History {
    History {
        opened: Touch::from_wire(cookie, &facts.opened),
        used: Touch::from_wire(cookie, &facts.used),
        eof: Touch::from_wire(cookie, &facts.eof),
    }
}

/// A way and its facts as a socket to follow. `None` when the name's seal does not hold: torn, or of
/// another socket; the next sweep or inventory finds the truth.
pub fn promote(way: Way, facts: &Facts) -> Option<Promoted> {
    if !facts.name.holds(way.tag) {
        return None;
    }
    let entry = tracer_common::table::Entry::unpack(facts.name.entry);
    Some(Promoted {
        cookie: way.tag,
        state: way.state(),
        since: way.since(),
        netns: facts.name.netns,
        ends: Ends::from_wire(&facts.name.endpoints),
        entry: Entry {
            old_state: entry.old_state,
            error: entry.error,
            shutdown: entry.shutdown,
        },
        history: history(way.tag, facts),
    })
}

/// The touches of a spilled socket, whether or not it was stuck.
pub fn spilled(way: Way, facts: &Facts) -> (u64, History) {
    (way.tag, history(way.tag, facts))
}
