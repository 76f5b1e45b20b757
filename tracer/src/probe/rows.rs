//! The unwind rows that the kernel program walks stacks with: what is in the map, and how to change it
//! under the eyes of programs that read it. How it works: `tracer_common::unwind`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    time::{Duration, Instant},
};

use aya::maps::{Array, MapData, MapError};
use tracer_common::unwind::{self, ROW_SETS, ROWS_PER_SET, RowSet};

/// Words of a set, as aya wants to see it.
pub const SET_WORDS: usize = size_of::<RowSet>() / 8;

/// A walk takes microseconds, unless its task loses the CPU meanwhile.
const REST: Duration = Duration::from_secs(1);
/// A quarter of the rows that there is room for.
const MANY: usize = ROW_SETS as usize * ROWS_PER_SET / 4;
/// Processes whose layout is remembered.
const MAX_LAYOUTS: usize = 4096;

#[derive(Clone, Copy)]
struct Entry {
    tag: u64,
    rule: u64,
    layout: u64,
    address: u64,
    learnt: u64,
}

#[derive(Clone, Copy)]
enum Place {
    Free,
    Taken(Entry),
    /// Its tag is 0 since then; who read it before may still read the rule.
    Resting(Instant),
}

type Set = [Place; ROWS_PER_SET];

pub struct Rows {
    map: Array<MapData, [u64; SET_WORDS]>,
    /// Sets that were ever written to.
    sets: HashMap<u32, Set>,
    layouts: HashMap<u32, u64>,
    learnt: u64,
    /// Since those of processes that ended were looked for.
    learnt_since: usize,
}

impl Rows {
    pub fn new(map: Array<MapData, [u64; SET_WORDS]>) -> Self {
        Self {
            map,
            sets: HashMap::new(),
            layouts: HashMap::new(),
            learnt: 0,
            learnt_since: 0,
        }
    }

    /// The rule at `address`, packed, if there is a row for it.
    pub fn rule(&self, layout: u64, address: u64) -> Option<u64> {
        let tag = unwind::tag(address, layout);
        let set = self.sets.get(&unwind::set_of(tag))?;
        set.iter().find_map(|place| match place {
            Place::Taken(entry) if entry.tag == tag => Some(entry.rule),
            _ => None,
        })
    }

    /// The process whose address space has this layout now.
    pub fn is_of(&mut self, pid: u32, layout: u64) {
        if self.layouts.len() >= MAX_LAYOUTS && !self.layouts.contains_key(&pid) {
            self.layouts.clear();
        }
        self.layouts.insert(pid, layout);
    }

    /// The process has ended. Forked ones that share its layout and have shown themselves keep their rows; others learn
    /// them again.
    pub fn ended(&mut self, pid: u32) -> Result<(), MapError> {
        self.layouts.remove(&pid);
        if self.learnt_since < MANY {
            return Ok(());
        }
        self.learnt_since = 0;
        let alive: HashSet<u64> = self.layouts.values().copied().collect();
        self.rest(|entry| !alive.contains(&entry.layout))
    }

    /// Tells the kernel program. Where its set has no place left, the oldest row there goes, and the new
    /// one has to be learnt again when that place has rested.
    pub fn learn(&mut self, layout: u64, address: u64, rule: u64) -> Result<(), MapError> {
        let tag = unwind::tag(address, layout);
        if tag == 0 {
            return Ok(());
        }
        let index = unwind::set_of(tag);
        let mut set = self.sets.get(&index).copied().unwrap_or([Place::Free; _]);
        self.learnt += 1;
        self.learnt_since += 1;
        let entry = Entry {
            tag,
            rule,
            layout,
            address,
            learnt: self.learnt,
        };
        let same = set
            .iter_mut()
            .find(|place| matches!(place, Place::Taken(known) if known.tag == tag));
        if let Some(place) = same {
            if matches!(place, Place::Taken(known) if known.rule == rule) {
                return Ok(());
            }
            // Other code lies there now than when the row was learnt.
            *place = Place::Resting(Instant::now());
        } else if let Some(place) = set.iter_mut().find(|place| place.is_usable()) {
            *place = Place::Taken(entry);
            self.write(index, &set, Some(tag))?;
        } else if let Some(oldest) = set.iter_mut().min_by_key(|place| place.learnt()) {
            *oldest = Place::Resting(Instant::now());
        }
        self.write(index, &set, None)?;
        self.sets.insert(index, set);
        Ok(())
    }

    /// The process has other code now where these ranges were: their rows mean nothing any more, also for
    /// others with its layout.
    pub fn forget(&mut self, pid: u32, ranges: &[Range<u64>]) -> Result<(), MapError> {
        let Some(layout) = self.layouts.get(&pid).copied() else {
            return Ok(());
        };
        let gone = |entry: &Entry| {
            entry.layout == layout && ranges.iter().any(|range| range.contains(&entry.address))
        };
        self.rest(gone)
    }

    fn rest(&mut self, gone: impl Fn(&Entry) -> bool) -> Result<(), MapError> {
        let mut changed: BTreeMap<u32, Set> = BTreeMap::new();
        for (index, set) in &mut self.sets {
            let mut touched = false;
            for place in set.iter_mut() {
                if matches!(place, Place::Taken(entry) if gone(entry)) {
                    *place = Place::Resting(Instant::now());
                    touched = true;
                }
            }
            if touched {
                changed.insert(*index, *set);
            }
        }
        for (index, set) in changed {
            self.write(index, &set, None)?;
        }
        Ok(())
    }

    /// Writes a set; the row `without_tag` is there, but not to be found yet. Words that stay are
    /// written again as they are.
    fn write(&mut self, index: u32, set: &Set, without_tag: Option<u64>) -> Result<(), MapError> {
        let mut words = [0; SET_WORDS];
        for (place, row) in set.iter().zip(words.as_chunks_mut::<2>().0) {
            if let Place::Taken(entry) = place {
                let tag = if without_tag == Some(entry.tag) {
                    0
                } else {
                    entry.tag
                };
                *row = [tag, entry.rule];
            }
        }
        self.map.set(index, words, 0)
    }
}

impl Place {
    fn is_usable(&self) -> bool {
        match self {
            Self::Free => true,
            Self::Taken(_) => false,
            Self::Resting(since) => since.elapsed() >= REST,
        }
    }

    /// Places that rest are not the oldest.
    fn learnt(&self) -> u64 {
        match self {
            Self::Taken(entry) => entry.learnt,
            Self::Free | Self::Resting(_) => u64::MAX,
        }
    }
}
