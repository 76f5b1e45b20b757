//! Which counts of closed sockets may go: the kernel has room for 4096 pairs of places, and every program that
//! starts brings places of its own. Decides only; reading and forgetting is the session's.

use std::collections::HashMap;

use crate::{model::input::CloseCount, source::process};

/// Up to so many stay, whoever made them.
const KEPT: usize = 512;

/// Pairs beyond that which belong to processes that are gone. `process_of` knows whose place a key is, as long as its
/// copy is kept.
pub fn surplus(counts: &[CloseCount], process_of: impl Fn(u64) -> Option<u32>) -> Vec<[u64; 2]> {
    surplus_of(counts, process_of, process::is_alive)
}

fn surplus_of(
    counts: &[CloseCount],
    process_of: impl Fn(u64) -> Option<u32>,
    is_alive: impl Fn(u32) -> bool,
) -> Vec<[u64; 2]> {
    let over = counts.len().saturating_sub(KEPT);
    if over == 0 {
        return Vec::new();
    }
    let mut alive: HashMap<u32, bool> = HashMap::new();
    let mut lives = |pid: u32| *alive.entry(pid).or_insert_with(|| is_alive(pid));
    let gone = counts
        .iter()
        .filter(|pair| !process_of(pair.opened).is_some_and(&mut lives));
    gone.take(over)
        .map(|pair| [pair.opened, pair.closed])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_the_bound_the_pairs_of_processes_that_are_gone_go() {
        let counts: Vec<CloseCount> = (0..KEPT as u64 + 10)
            .map(|opened| CloseCount {
                opened,
                closed: 1,
                count: 1,
            })
            .collect();
        // Every second process lives; of the first four nobody knows whose they are.
        let process_of = |key| (key > 3).then_some(key as u32);
        let surplus = |counts| surplus_of(counts, process_of, |pid| pid % 2 == 0);
        let over = surplus(&counts);
        assert_eq!(over.len(), 10);
        assert_eq!(over[..5], [[0, 1], [1, 1], [2, 1], [3, 1], [5, 1]]);
        assert!(surplus(&counts[..KEPT]).is_empty());
    }
}
