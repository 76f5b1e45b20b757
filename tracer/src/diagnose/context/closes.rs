//! Which stack keys are one place of opening: one path through the code can have several keys.

use std::collections::BTreeSet;

use foldhash::{HashMap, HashSet};

use crate::{
    model::stack::{Step, path},
    track::Tracker,
};

#[derive(Default)]
pub struct CallSites(HashMap<u64, u64>);

/// Every frame that is known, in the process.
type Path<'a> = (Option<u32>, Vec<Step<'a>>);

impl CallSites {
    /// The lowest of the keys whose stacks have the same frames in the same process, for each that is
    /// named: interpreters have the same frames in all programs. A stack whose callers are not known is that of the
    /// only path which goes on like it; where several do, it stands alone.
    pub fn new(tracker: &Tracker) -> Self {
        let close_counts = tracker.close_counts().iter();
        let close_counts = close_counts.map(|close_counts| close_counts.opened);
        let stuck = tracker.sockets();
        let stuck = stuck.filter_map(|socket| Some(socket.history.opened?.stack));
        let keys: HashSet<u64> = close_counts.chain(stuck).collect();
        let keys: BTreeSet<u64> = keys.into_iter().collect();
        let mut firsts: HashMap<Path<'_>, u64> = HashMap::default();
        let mut in_part = Vec::new();
        let mut call_sites = HashMap::default();
        for key in keys {
            let Some(known) = tracker.stack(key).filter(|known| !known.frames.is_empty()) else {
                continue;
            };
            let path: Path<'_> = (known.pid, path(&known.frames));
            if known.one_of_several {
                in_part.push((key, path));
            } else {
                call_sites.insert(key, *firsts.entry(path).or_insert(key));
            }
        }
        // Longer ones first: they may be what a shorter one goes on like.
        in_part.sort_by_key(|(key, (_, steps))| (std::cmp::Reverse(steps.len()), *key));
        for (key, path) in in_part {
            let first = match only(&firsts, &path) {
                Some(whole) => whole,
                None => *firsts.entry(path).or_insert(key),
            };
            call_sites.insert(key, first);
        }
        Self(call_sites)
    }

    /// The same number for sockets opened along the same frames.
    pub fn of(&self, opened: u64) -> u64 {
        self.0.get(&opened).copied().unwrap_or(opened)
    }
}

/// The one path of the process that begins like this one.
fn only(paths: &HashMap<Path<'_>, u64>, (pid, steps): &Path<'_>) -> Option<u64> {
    let mut alike = paths
        .iter()
        .filter(|((of, whole), _)| of == pid && whole.starts_with(steps));
    match (alike.next(), alike.next()) {
        (Some((_, first)), None) => Some(*first),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_part_is_that_of_the_only_one_that_goes_on_like_it() {
        let path = |pid, offsets: &[u64]| -> Path<'static> {
            let steps = offsets
                .iter()
                .map(|offset| (Some("app"), *offset, None, None));
            (Some(pid), steps.collect())
        };
        let paths = HashMap::from_iter([
            (path(1, &[10, 20, 30]), 7),
            (path(1, &[10, 21, 30]), 8),
            (path(2, &[10, 22]), 9),
        ]);
        assert_eq!(only(&paths, &path(1, &[10, 20])), Some(7));
        assert_eq!(only(&paths, &path(1, &[10, 20, 30])), Some(7));
        assert_eq!(only(&paths, &path(2, &[10])), Some(9));
        assert_eq!(only(&paths, &path(1, &[10])), None, "either of two");
        assert_eq!(only(&paths, &path(3, &[10])), None, "another process");
    }
}
