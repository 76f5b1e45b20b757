//! A thread that computes in place of going on with a socket: on the CPU at every look, or sampled there. Busy is not
//! busy with this socket, so where samples show that the call which touched it last is over, it is not kept by that.

use super::{
    Group, SocketView,
    at_work::{AtWork, How},
};
use crate::{
    diagnose::{
        context::{
            activations::{Activation, Over},
            waits::{Waits, WaitsFor},
        },
        explanation,
    },
    model::input::Thread,
};

/// Seen on the CPU at every look for at least this long: 1 s.
const RUNS_LONG: u64 = 1_000_000_000;

/// It made the last operation, has turned to nothing else, and was on the CPU at every look.
fn runs<'a>(view: &SocketView<'a>) -> Option<(&'a Thread, u64)> {
    // Which thread a goroutine is on says little.
    let operation = view
        .last_operation()
        .filter(|operation| operation.goroutine.is_none())?;
    let since = view.tracker.running_since(operation.tid)?;
    let threads = &view.context.threads;
    let thread = threads.seen(operation.actor())?;
    let serves_another = threads.went_on(operation.actor(), view.socket.cookie, operation.at);
    (serves_another.is_none() || in_its_loop(view)).then_some((thread, since))
}

/// The loop of all of them is busy with one: the others wait for it as well.
fn in_its_loop(view: &SocketView<'_>) -> bool {
    view.watch().is_some() && !view.may_run_elsewhere()
}

pub(super) fn computes<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    let (thread, since) = runs(view)?;
    let call = match view.activation() {
        Activation::Same(_, sameness) => Some(sameness),
        // Samples show that it computes something else, and no loop of its own would serve the socket after that.
        Activation::Over(Over::Returned | Over::LeftBehind)
            if thread.sampled.is_some() && !in_its_loop(view) =>
        {
            return None;
        }
        _ => None,
    };
    is_long(view, thread, since).then_some(AtWork {
        thread,
        waits: WaitsFor::Cpu,
        how: How::Computes { since, call },
        behind: None,
    })
}

/// A second, or half of one on a CPU.
fn is_long(view: &SocketView<'_>, thread: &Thread, since: u64) -> bool {
    let samples = view.context.waits.computes(thread);
    samples.is_some() || view.now.saturating_sub(since) >= RUNS_LONG
}

/// Where it computes, or else where the connections were used last: nobody knows in what it is now.
pub(super) fn within(group: &Group<'_>, thread: &Thread) -> String {
    let mut views = group.views.iter();
    if views.any(|view| view.context.waits.computes(thread).is_some()) {
        return explanation::within(group);
    }
    let n = explanation::number(group.count());
    let function = group.function();
    let last = function.map(|name| format!("; {} {} used last in {name}", n.they, n.were));
    last.unwrap_or_default()
}

/// What is known of a thread that computes.
pub(super) fn says(waits: &Waits<'_>, thread: &Thread, since: u64, now: u64) -> String {
    let looks = format!(
        "it was on the CPU whenever it was looked at, for {}",
        explanation::span(now.saturating_sub(since))
    );
    match (waits.computes(thread), thread.sampled) {
        (Some(computes), _) => format!("{looks}: it {computes}"),
        (None, Some(moments)) => format!(
            "{looks}; samples ({}) show no function of the program that it stays in",
            moments.count
        ),
        (None, None) => looks,
    }
}

/// On the CPU, but not for long enough to say that it does nothing else.
pub(super) fn may_be_busy(view: &SocketView<'_>) -> Option<u64> {
    let (thread, since) = runs(view)?;
    (!is_long(view, thread, since)).then_some(since + RUNS_LONG)
}
