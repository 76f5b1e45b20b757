//! Every way in which a report knows less than it could, in words.

use super::evidence;
use crate::{
    model::{
        input::RunHeader,
        quantity::{agree, counted},
    },
    track::Tracker,
};

/// `nobodys`: stuck ones that no process holds, where only some processes were asked for.
pub fn of(tracker: &Tracker, run_header: &RunHeader, nobodys: u64) -> Vec<String> {
    let mut warnings = run_header.warnings.clone();
    warnings.extend(evidence::warning(tracker));
    let counters = tracker.counters();
    let mut say = |count: u64, text: &str| {
        if count > 0 {
            warnings.push(format!("{count} {text}"));
        }
    };
    let repaired = if tracker.is_complete() {
        "; what exists now was checked with the iterators afterwards"
    } else {
        ""
    };
    say(
        counters.lost,
        &format!("events lost because the ring was full{repaired}"),
    );
    say(
        counters.missed,
        &format!("events missed because the kernel skipped a nested run{repaired}"),
    );
    say(counters.damaged, "events could not be decoded");
    say(
        counters.stacks_limited,
        "stacks not copied because a process exceeded its rate",
    );
    say(
        counters.stacks_lost,
        "stacks not copied because the ring was full",
    );
    say(
        counters.defects,
        "times a map of the kernel program had no room: facts are missing",
    );
    say(
        counters.closes_uncounted,
        "healthy sockets were closed without being counted: too many different places",
    );
    say(
        counters.epoll_changes_lost,
        "changes to epoll sets not seen because the ring was full",
    );
    say(
        counters.evicted,
        "stacks, processes or files forgotten to stay within the memory bounds",
    );
    say(
        tracker.refused(),
        "histories, stacks or processes not remembered because a limit was reached",
    );
    say(
        tracker.unfollowed(),
        "sockets not followed because a limit was reached",
    );
    let drift = tracker.drift();
    // Where one tree is followed, these are of other processes.
    let header = tracker.run_header();
    let follows_tree = header.is_some_and(|header| header.exit_age_ns.is_some());
    say(
        if follows_tree { 0 } else { drift.unseen },
        "stuck sockets found by the iterators that no event had told of",
    );
    say(drift.vanished, "followed sockets gone without an event");
    if nobodys > 0 {
        warnings.push(format!(
            "{} {} held by no process (sent over a unix socket, or fixed files of an io_uring): whether {} of the processes \
             asked for is not known; look without a filter",
            counted(nobodys, "stuck connection"),
            agree(nobodys, "is", "are"),
            agree(nobodys, "it is one", "they are"),
        ));
    }
    warnings.extend(tracker.warnings());
    warnings
}
