//! Threads that turn to other stacks: fibers and coroutines with a stack of their own each. By the places of what they
//! were seen to do, so no library has to be known.

use foldhash::{HashMap, HashSet};

use super::threads::operations;
use crate::{model::actor::Actor, track::Tracker};

/// Bytes. No stack is so large, unless without a limit, and Linux leaves more between that of a first thread and all that is
/// mapped (`arch/x86/mm/mmap.c:mmap_base`: `MIN_GAP`, 128 MiB).
const APART: u64 = 64 << 20;

/// Threads that were seen on stacks so far apart that they cannot be one.
pub fn turning(tracker: &Tracker) -> HashSet<Actor> {
    let mut spans: HashMap<Actor, (u64, u64)> = HashMap::default();
    let mut note = |actor: Actor, sp: u64| {
        // Those of goroutines are moved as they grow.
        if sp != 0 && matches!(actor, Actor::Thread(_)) {
            let (low, high) = spans.entry(actor).or_insert((sp, sp));
            (*low, *high) = ((*low).min(sp), (*high).max(sp));
        }
    };
    let stuck = tracker.sockets().map(|socket| &*socket.history);
    let live = tracker.activity().iter().map(|live| &live.history);
    for operation in stuck.chain(live).flat_map(operations) {
        note(operation.actor(), operation.sp);
    }
    for thread in tracker.threaded().flat_map(|pid| tracker.threads(pid)) {
        let innermost = thread.frames_at.first().map_or(0, |frame| frame.cfa);
        note(thread.actor(), innermost);
    }
    let apart = spans
        .into_iter()
        .filter(|(_, (low, high))| high - low > APART);
    apart.map(|(actor, _)| actor).collect()
}
