//! Sockets of which nothing tells where they were used: they were there before the tracer, or an idle thread
//! touched them last. A few of them beside many of one finding, on the same port of the same program, are most
//! likely of that finding: they are told with it, and its evidence says so; any number, if it is proven of each that it waits
//! for the same server. So are a few of which nothing is proven
//! beside many of which something is, though nobody is to blame, and a few that the same calls used last, of whose thread
//! no more could be learnt. Many stand for themselves, but for those that the same calls used last and whose stack was cut
//! short before its runtime was known.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    Group, SocketView,
    grouping::{Classified, frames_of},
    handed,
    rules::Evidence,
};
use crate::model::{
    report::Direction,
    verdict::{Confidence, Verdict},
};

/// A finding takes in one for each so many of its own, so that three of four are its own.
const OWN: usize = 3;

/// Moves the members of small groups without a place to the only group that can be theirs.
pub fn join(groups: &mut BTreeMap<String, Vec<Classified<'_>>>) {
    let placeless: Vec<String> = groups
        .iter()
        .filter(|(_, members)| members.first().is_some_and(|(_, view)| !has_place(view)))
        .map(|(key, _)| key.clone())
        .collect();
    for key in placeless {
        let Some(few) = groups.get(&key) else {
            continue;
        };
        let takes_in = |(_, members): &(&String, &Vec<Classified<'_>>)| {
            let pair = members.first().zip(few.first());
            let enough = members.len() >= few.len() * OWN
                || pair.is_some_and(|((_, own), (_, other))| {
                    waits_alike(own, other) || is_cut_short(other) && is_used_alike(own, other)
                });
            enough && pair.is_some_and(|(own, other)| may_be_of(own, other))
        };
        let mut fitting = groups.iter().filter(takes_in);
        let (Some((only, members)), None) = (fitting.next(), fitting.next()) else {
            continue;
        };
        let verdict = members.first().map(|(rule, _)| rule.verdict());
        let only = only.clone();
        let mut moved = groups.remove(&key).unwrap_or_default();
        for (rule, view) in &mut moved {
            if let Some(proof) = &mut view.proof {
                proof.is_of_nothing |= Some(rule.verdict()) != verdict;
            }
        }
        groups.entry(only).or_default().extend(moved);
    }
}

/// Says of how many members that is so, and by what they belong here.
pub fn evidence(group: &Group<'_>) -> Vec<String> {
    let shared = match group.direction() {
        Some(Direction::Connected) => "server",
        _ => "port",
    };
    let guests: Vec<&SocketView<'_>> = if group.blamed.is_some() {
        let unlike = |view: &&SocketView<'_>| !has_place(view) && !is_in_part(view);
        group.views.iter().filter(unlike).collect()
    } else {
        group
            .views
            .iter()
            .filter(|view| is_unproven(view))
            .collect()
    };
    let telling = telling(group);
    let (asked, others): (Vec<_>, Vec<_>) = guests
        .into_iter()
        .filter(|view| !handed::is_moved(view))
        .partition(|view| telling.is_some_and(|own| waits_alike(own, view)));
    let (alike, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|view| telling.is_some_and(|own| is_used_alike(own, view)));
    let others_lack = if group.blamed.is_some() {
        "tells where they were used"
    } else {
        "proves why they are stuck"
    };
    let count = group.count();
    let say = |of: usize, lack: &str, same: &str| {
        (0 < of && of < count).then(|| format!("of {of} of the {count} nothing {lack}: {same}"))
    };
    [
        say(
            asked.len(),
            "tells which function asked",
            "they wait for the same server as the others",
        ),
        say(
            alike.len(),
            "else is known",
            "the same calls used them last as the others",
        ),
        say(
            others.len(),
            others_lack,
            &format!("the same {shared} and program as the others"),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The oldest member that has a place of its own, of those that are as sure as the finding: what that says is proven of it.
pub fn telling<'g, 'a>(group: &'g Group<'a>) -> Option<&'g SocketView<'a>> {
    let is_own = |view: &&SocketView<'_>| has_place(view) && !is_unproven(view);
    let is_sure = |view: &&SocketView<'_>| {
        let proof = view.proof.as_ref();
        proof.is_some_and(|proof| proof.confidence >= group.confidence)
    };
    let sure = group
        .views
        .iter()
        .find(|view| is_own(view) && is_sure(view));
    let own = sure.or_else(|| group.views.iter().find(is_own));
    own.or_else(|| group.views.iter().find(|view| !is_unproven(view)))
        .or_else(|| group.oldest())
}

fn has_place(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let frames = source.and_then(|source| frames_of(source, view));
    frames.is_some_and(|frames| view.context.blame(frames).is_some())
}

/// These agree with a stack, which `in_part` tells of.
fn is_in_part(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let stack = view.stack(source.and_then(|source| source.operation(view)));
    stack.is_some_and(|stack| stack.one_of_several)
}

/// By no rule but the last.
fn is_unproven(view: &SocketView<'_>) -> bool {
    let proof = view.proof.as_ref();
    proof.is_some_and(|proof| proof.is_of_nothing)
}

fn may_be_of((rule, own): &Classified<'_>, (of, other): &Classified<'_>) -> bool {
    let program = |view: &SocketView<'_>| view.process().and_then(|process| process.exe.clone());
    let verdict = of.verdict();
    (verdict == Verdict::Unknown && !denies(rule.verdict(), other)
        || has_place(own) && verdict == rule.verdict()
        || has_place(own) && is_low(other) && is_used_alike(own, other)
        || may_be_parked(verdict, other) && rule.verdict() == Verdict::Parked)
        && rule.verdict() != Verdict::Unknown
        && is_in_like_state(own, other)
        && program(own).is_some()
        && program(own) == program(other)
        && (end(own).is_some() && end(own) == end_like(other, own)
            || is_used_alike(own, other)
                && service(own).is_some()
                && service(own) == service(other))
}

/// One that the kernel has ended is another case than one in `CLOSE_WAIT`, one whose end was taken by calls that nobody
/// watches than one whose read is known, and one whose other side the program has ended than one that it has forgotten.
fn is_in_like_state(own: &SocketView<'_>, other: &SocketView<'_>) -> bool {
    own.in_close_wait() == other.in_close_wait()
        && own.was_read_unseen() == other.was_read_unseen()
        && own.was_passed_on() == other.was_passed_on()
}

/// What the verdict says is not true of it.
fn denies(verdict: Verdict, view: &SocketView<'_>) -> bool {
    verdict == Verdict::NeverRead && !view.is_unused()
}

/// The stack that would tell its place ends before any function of the program, as where its runtime was not known yet.
fn is_cut_short(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let stack = view.stack(source.and_then(|source| source.operation(view)));
    stack.is_some_and(|stack| stack.truncated || stack.one_of_several)
}

/// That both wait for the same server is proven of each, and is their cause, whoever asked.
fn waits_alike(own: &SocketView<'_>, other: &SocketView<'_>) -> bool {
    let server = |view: &SocketView<'_>| match &view.proof.as_ref()?.evidence {
        Evidence::Upstream(upstream) => Some(upstream.connection.endpoints.remote),
        _ => None,
    };
    server(own).is_some() && server(own) == server(other)
}

/// It left its epoll set, if it was in one, before that was watched.
fn may_be_parked(verdict: Verdict, view: &SocketView<'_>) -> bool {
    verdict == Verdict::LostReference && is_low(view)
}

fn is_low(view: &SocketView<'_>) -> bool {
    let proof = view.proof.as_ref();
    proof.is_some_and(|proof| proof.confidence == Confidence::Low)
}

/// The same calls used both last, as far out as the stack is known.
fn is_used_alike(own: &SocketView<'_>, other: &SocketView<'_>) -> bool {
    let stack = |view: &SocketView<'_>| {
        let last = view.last_operation()?;
        let known = view.stack(Some(last))?;
        (last.stack != 0 && !known.truncated && !known.one_of_several).then_some(last.stack)
    };
    stack(own).is_some() && stack(own) == stack(other)
}

/// What they came in through, or where they go to.
fn end(view: &SocketView<'_>) -> Option<(bool, SocketAddr)> {
    end_of(view.direction()?, view)
}

/// That of one which is older than the tracer, so that nothing tells who opened it: as if it were like the other.
fn end_like(view: &SocketView<'_>, other: &SocketView<'_>) -> Option<(bool, SocketAddr)> {
    end_of(view.direction().or_else(|| other.direction())?, view)
}

/// Another host may offer the same.
fn service(view: &SocketView<'_>) -> Option<(bool, u16)> {
    end(view).map(|(is_remote, end)| (is_remote, end.port()))
}

fn end_of(direction: Direction, view: &SocketView<'_>) -> Option<(bool, SocketAddr)> {
    let endpoints = &view.socket.endpoints;
    match direction {
        Direction::Connected => Some((true, endpoints.remote)),
        Direction::Accepted => Some((false, endpoints.local)),
        Direction::Unaccepted => None,
    }
}
