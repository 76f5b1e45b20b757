//! Tells the kernel program how to walk the frames of language runtimes. How it is found there:
//! `tracer_common::runtime`.

use std::collections::HashMap;

use aya::maps::{Array, MapData, MapError};
use tracer_common::runtime::{Runtime, places_of};

/// Words of an entry, as aya wants to see it.
pub const WORDS: usize = size_of::<Runtime>() / 8;

pub struct Runtimes {
    map: Array<MapData, [u64; WORDS]>,
    /// By place, with their layout.
    known: HashMap<u32, Runtime>,
}

impl Runtimes {
    pub fn new(map: Array<MapData, [u64; WORDS]>) -> Self {
        Self {
            map,
            known: HashMap::new(),
        }
    }

    pub fn of(&self, layout: u64) -> Option<Runtime> {
        let at = |place: &u32| self.known.get(place).filter(|known| known.tag == layout);
        places_of(layout).iter().find_map(at).copied()
    }

    /// Where both places are taken, one is given up, and the next time there is room.
    pub fn learn(&mut self, layout: u64, words: [u64; WORDS]) -> Result<(), MapError> {
        if layout == 0 || self.of(layout).is_some() {
            return Ok(());
        }
        let places = places_of(layout);
        let free = places.iter().find(|place| !self.known.contains_key(place));
        let Some(place) = free.copied() else {
            let [first, _] = places;
            self.known.remove(&first);
            return self.map.set(first, [0; WORDS], 0);
        };
        let runtime = Runtime {
            tag: layout,
            ..zerocopy::transmute!(words)
        };
        // Found only once it is there as a whole.
        let untagged = Runtime { tag: 0, ..runtime };
        for entry in [untagged, runtime] {
            let words: [u64; WORDS] = zerocopy::transmute!(entry);
            self.map.set(place, words, 0)?;
        }
        self.known.insert(place, runtime);
        Ok(())
    }

    /// What was told of this layout leads nowhere.
    pub fn forget(&mut self, layout: u64) -> Result<(), MapError> {
        for place in places_of(layout) {
            if self
                .known
                .get(&place)
                .is_some_and(|known| known.tag == layout)
            {
                self.known.remove(&place);
                self.map.set(place, [0; WORDS], 0)?;
            }
        }
        Ok(())
    }
}
