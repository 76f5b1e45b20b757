//! Sockets whose stack is known in part only: the innermost calls are sure, and their caller is one of
//! several. Where just one finding of the program has a stack that goes on like that, they are told
//! with it, as likely the same; else they stand alone, and nobody is blamed.

use std::collections::BTreeMap;

use super::{Group, SocketView, grouping::Classified};
use crate::model::stack::Frame;

/// Moves the members of groups that are known in part to the only group that continues them.
pub fn join(groups: &mut BTreeMap<String, Vec<Classified<'_>>>) {
    let in_part: Vec<String> = groups
        .iter()
        .filter(|(_, members)| members.first().is_some_and(is_in_part))
        .map(|(key, _)| key.clone())
        .collect();
    for key in in_part {
        let Some(part) = groups.get(&key).and_then(|members| members.first()) else {
            continue;
        };
        let fits = |members: &[Classified<'_>]| {
            members.first().is_some_and(|whole| continues(whole, part))
        };
        let mut whole = groups
            .iter()
            .filter(|(_, members)| fits(members))
            .map(|(key, _)| key.clone());
        let (Some(only), None) = (whole.next(), whole.next()) else {
            continue;
        };
        let moved = groups.remove(&key).unwrap_or_default();
        groups.entry(only).or_default().extend(moved);
    }
}

/// The function that is blamed is the last one that is sure: whether all of the program's reads go through it, or who
/// called it, nobody knows.
pub fn may_be_a_wrapper(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let operation = if view.is_blamed_by_opening() {
        view.socket.history.opened
    } else {
        source.and_then(|source| source.operation(view))
    };
    view.stack(operation)
        .filter(|stack| stack.one_of_several && !view.is_blamed_by_listener())
        .is_some_and(|stack| {
            let blamed = view.context.blame(&stack.frames);
            let outer = blamed.and_then(|at| stack.frames.get(at + 1..));
            outer.is_some_and(|outer| view.context.blame(outer).is_none())
        })
}

/// Says of how many members that is so.
pub fn evidence(group: &Group<'_>) -> Option<String> {
    group.function()?;
    if group.views.iter().all(may_be_a_wrapper) {
        return Some(
            "who called that function is not known: it may only read for others, which leave the connections"
                .to_owned(),
        );
    }
    let in_part = |view: &&SocketView<'_>| {
        let stack = view.stack(group.evidence_source.operation(view));
        stack.is_some_and(|stack| {
            stack.one_of_several && view.context.blame(&stack.frames).is_none()
        })
    };
    match group.views.iter().filter(in_part).count() {
        0 => None,
        count => Some(format!(
            "of {count} of the {}, only the innermost calls are known: they agree with this stack, and with \
             that of no other finding",
            group.count()
        )),
    }
}

fn is_in_part((_, view): &Classified<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let stack = view.stack(source.and_then(|source| source.operation(view)));
    !view.is_blamed_elsewhere()
        && stack.is_some_and(|stack| {
            stack.one_of_several && view.context.blame(&stack.frames).is_none()
        })
}

fn continues((rule, view): &Classified<'_>, part: &Classified<'_>) -> bool {
    let (of, other) = part;
    let source = |view: &SocketView<'_>| view.proof.as_ref().map(|proof| proof.evidence_source);
    let program = |view: &SocketView<'_>| view.process().and_then(|process| process.exe.clone());
    let frames = |view: &SocketView<'_>| -> Vec<Frame> {
        let operation = source(view).and_then(|source| source.operation(view));
        let stack = view.stack(operation);
        stack.map(|stack| stack.frames.clone()).unwrap_or_default()
    };
    let (whole, known) = (frames(view), frames(other));
    // All functions of a language runtime call through the same frames: that they agree so far says nothing.
    rule.verdict() == of.verdict()
        && source(view) == source(other)
        && program(view).is_some()
        && is_of_present_program(view)
        && is_of_present_program(other)
        && program(view) == program(other)
        && view.context.blame(&whole).is_some()
        && whole.starts_with(&known)
        && !whole.get(known.len()).is_some_and(Frame::is_managed)
}

/// Who touched it then is the program that its process executes now.
fn is_of_present_program(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let operation = source.and_then(|source| source.operation(view));
    operation.is_none_or(|operation| {
        let pid = operation.pid;
        !view.tracker.has_executed_since(pid, operation.at)
    })
}
