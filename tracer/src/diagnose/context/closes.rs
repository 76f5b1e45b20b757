//! Which stack keys are one place of opening: one path through the code can have several keys.

use std::collections::{BTreeSet, HashMap};

use crate::track::Tracker;

#[derive(Default)]
pub struct CallSites(HashMap<u64, u64>);

/// Module and offset of every frame, in the process.
type Path<'a> = (Option<u32>, Vec<(Option<&'a str>, u64)>);

impl CallSites {
    /// The lowest of the keys whose stacks have the same frames in the same process, for each that is
    /// named: interpreters have the same frames in all programs.
    pub fn new(tracker: &Tracker) -> Self {
        let close_counts = tracker.close_counts().iter();
        let close_counts = close_counts.map(|close_counts| close_counts.opened);
        let stuck = tracker.sockets().into_iter();
        let stuck = stuck.filter_map(|socket| Some(socket.history.opened?.stack));
        let keys: BTreeSet<u64> = close_counts.chain(stuck).collect();
        let mut firsts: HashMap<Path<'_>, u64> = HashMap::new();
        let mut call_sites = HashMap::new();
        for key in keys {
            let Some(known) = tracker.stack(key).filter(|known| !known.frames.is_empty()) else {
                continue;
            };
            let frames = known.frames.iter();
            let frames = frames.map(|frame| (frame.module.as_deref(), frame.offset));
            let path = (known.pid, frames.collect());
            call_sites.insert(key, *firsts.entry(path).or_insert(key));
        }
        Self(call_sites)
    }

    /// The same number for sockets opened along the same frames.
    pub fn of(&self, opened: u64) -> u64 {
        self.0.get(&opened).copied().unwrap_or(opened)
    }
}
