//! Connections whose request an event loop has read for a pool of threads: which of them serves each, nothing tells.
//! Where at least so many threads more wait for the very server that those wait for whose connections are known, they are
//! told with these, and the evidence says so: one cause is one finding.

use std::collections::BTreeMap;

use foldhash::HashSet;

use super::{
    Group, SocketView,
    context::{pairs::Link, waits::WaitsFor},
    grouping::Classified,
    rules::Evidence,
};
use crate::model::{
    report::Direction,
    verdict::{Confidence, Verdict},
};

/// Moves them to the only group that can be theirs.
pub fn join(groups: &mut BTreeMap<String, Vec<Classified<'_>>>) {
    let handed: Vec<String> = groups
        .iter()
        .filter(|(_, members)| members.iter().all(is_handed))
        .map(|(key, _)| key.clone())
        .collect();
    for key in handed {
        let Some(few) = groups.get(&key) else {
            continue;
        };
        let mut fitting = groups.iter().filter(|(_, members)| serves(members, few));
        let (Some((only, _)), None) = (fitting.next(), fitting.next()) else {
            continue;
        };
        let only = only.clone();
        let mut moved = groups.remove(&key).unwrap_or_default();
        for (_, view) in &mut moved {
            if let Some(proof) = &mut view.proof {
                proof.confidence = Confidence::Medium;
                // Not of what the group says.
                proof.is_of_nothing = true;
            }
        }
        groups.entry(only).or_default().extend(moved);
    }
}

/// Says of how many members that is so.
pub fn evidence(group: &Group<'_>) -> Option<String> {
    let count = group.views.iter().filter(|view| is_moved(view)).count();
    (count > 0).then(|| {
        format!(
            "of {count} of the {} nothing tells which thread serves it: an event loop has read the request; so many threads more \
             wait for the same server",
            group.count()
        )
    })
}

/// It came to its group by this.
pub fn is_moved(view: &SocketView<'_>) -> bool {
    let proof = view.proof.as_ref();
    proof.is_some_and(|proof| proof.is_of_nothing && proof.confidence == Confidence::Medium)
        && reader_loops(view)
}

/// With low confidence, because its request may be with another thread than that which has read it.
fn is_handed((rule, view): &Classified<'_>) -> bool {
    let low = view
        .proof
        .as_ref()
        .is_some_and(|proof| proof.confidence == Confidence::Low);
    low && (rule.verdict() == Verdict::LostReference || is_asked_by_another(view))
        && view.direction() == Some(Direction::Accepted)
        && reader_loops(view)
}

fn is_asked_by_another(view: &SocketView<'_>) -> bool {
    let evidence = view.proof.as_ref().map(|proof| &proof.evidence);
    matches!(evidence, Some(Evidence::Upstream(upstream)) if upstream.link == Link::Time)
}

fn reader_loops(view: &SocketView<'_>) -> bool {
    let reader = view.last_operation().map(|operation| operation.actor());
    let thread = reader.and_then(|actor| view.context.threads.seen(actor));
    thread.is_some_and(|thread| matches!(view.context.waits.of(thread), WaitsFor::Set(_)))
}

/// All of them wait for one server, and enough threads besides do.
fn serves(members: &[Classified<'_>], few: &[Classified<'_>]) -> bool {
    let Some(((rule, own), (_, other))) = members.first().zip(few.first()) else {
        return false;
    };
    let process = own.process().map(|process| process.pid);
    let local = |view: &SocketView<'_>| view.socket.endpoints().local;
    if rule.verdict() != Verdict::OwnerBlocked
        || process.is_none()
        || process != other.process().map(|process| process.pid)
        || local(own) != local(other)
    {
        return false;
    }
    let server = |waits: WaitsFor<'_>| match waits {
        WaitsFor::Upstream(connection) => Some(connection.endpoints.remote),
        _ => None,
    };
    let Some(asked) = work(own).and_then(|(_, waits)| server(waits)) else {
        return false;
    };
    let known: HashSet<u32> = members
        .iter()
        .filter_map(|(_, view)| work(view).map(|(tid, _)| tid))
        .collect();
    let threads = process.map_or(&[][..], |pid| own.tracker.threads(pid));
    let more = threads.iter().filter(|thread| {
        !known.contains(&thread.tid) && server(own.context.waits.of(thread)) == Some(asked)
    });
    more.count() >= few.len()
}

/// The thread that serves it, and what that waits for.
fn work<'a>(view: &SocketView<'a>) -> Option<(u32, WaitsFor<'a>)> {
    match &view.proof.as_ref()?.evidence {
        Evidence::AtWork(work) => Some((work.thread.tid, work.waits)),
        _ => None,
    }
}
