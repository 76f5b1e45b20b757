//! How the others are closed: sockets opened at the same place as the stuck ones, by the places where
//! `close()` was called on them. Counted from when the first socket was stuck.

use std::collections::{BTreeMap, BTreeSet};

use tracer_common::state::LAST_ACK;

use super::{Group, SocketView, explanation};
use crate::{
    model::{
        input::CloseCount,
        stack::{Frame, Stack},
    },
    track::Tracker,
};

/// Pairs of places that are named, those of the stuck sockets first.
const MAX_NAMED: usize = 24;

/// Siblings of a group's sockets that were closed.
pub struct Siblings<'a> {
    /// Wherever it was.
    pub closed: u64,
    /// At the place where most were.
    most: u64,
    function: Option<String>,
    /// The stack of that place.
    pub stack: &'a Stack,
}

/// Stacks that have to be named before [`of`] can tell: where sockets were closed that were opened at these
/// places, and where the same processes opened others, for one path can have several keys.
pub fn data_requests(
    tracker: &Tracker,
    opened: &BTreeSet<u64>,
    is_theirs: impl Fn(u64) -> bool,
) -> BTreeSet<u64> {
    if opened.is_empty() {
        return BTreeSet::new();
    }
    let all = tracker.close_counts().iter();
    let mut theirs: Vec<_> = all
        .filter(|close_counts| {
            opened.contains(&close_counts.opened) || is_theirs(close_counts.opened)
        })
        .collect();
    theirs.sort_by_key(|close_counts| {
        let other = !opened.contains(&close_counts.opened);
        (
            other,
            std::cmp::Reverse(close_counts.count),
            close_counts.closed,
        )
    });
    let named = theirs.iter().take(MAX_NAMED);
    named
        .flat_map(|close_counts| [close_counts.closed, close_counts.opened])
        .collect()
}

/// A runtime that ends closes whatever the program has left.
fn by_program(tracker: &Tracker) -> impl Iterator<Item = &CloseCount> {
    let all = tracker.close_counts().iter();
    all.filter(|close_counts| {
        let stack = tracker.stack(close_counts.closed);
        !stack.is_some_and(|stack| stack.of_end)
    })
}

/// How sockets were closed that were opened where these were.
pub fn close_counts<'a>(
    view: &SocketView<'a>,
    opened: &BTreeSet<u64>,
) -> impl Iterator<Item = CloseCount> + use<'a> {
    let context = view.context;
    let call_sites: BTreeSet<u64> = opened
        .iter()
        .map(|key| context.call_site_of(*key))
        .collect();
    let all = by_program(view.tracker);
    all.filter(move |close_counts| call_sites.contains(&context.call_site_of(close_counts.opened)))
        .copied()
}

/// The same for those that were opened at the same place of the function which is to blame for this one, whoever called
/// it and whatever libraries did below it.
pub fn close_counts_of_function(view: &SocketView<'_>, opened: u64) -> Vec<CloseCount> {
    let place = |key| {
        let stack = view.tracker.stack(key)?;
        let blamed = view.context.blame(&stack.frames)?;
        Some((stack.pid, stack.frames.get(blamed)?.step()))
    };
    let Some(wanted) = place(opened) else {
        return Vec::new();
    };
    let all = by_program(view.tracker);
    all.filter(|close_counts| place(close_counts.opened).as_ref() == Some(&wanted))
        .copied()
        .collect()
}

/// `None` when no sibling was closed at a place that is known.
pub fn of<'a>(group: &Group<'a>) -> Option<Siblings<'a>> {
    let first = group.oldest()?;
    let opened = opened(&group.views);
    let mut closed = 0;
    let mut call_sites: BTreeMap<String, (u64, &Stack, Option<&Frame>)> = BTreeMap::new();
    for close_counts in close_counts(first, &opened) {
        closed += close_counts.count;
        let Some(stack) = first.tracker.stack(close_counts.closed) else {
            continue;
        };
        let blamed = first.blamed(stack);
        let place = blamed.map_or_else(String::new, name);
        let known = call_sites.entry(place).or_insert((0, stack, blamed));
        known.0 += close_counts.count;
    }
    let (most, stack, blamed) = call_sites.into_values().max_by_key(|(count, ..)| *count)?;
    let own = group
        .views
        .iter()
        .filter(|view| was_shut_down(view))
        .count() as u64;
    let (closed, most) = (closed.saturating_sub(own), most.saturating_sub(own));
    if most == 0 {
        return None;
    }
    Some(Siblings {
        closed,
        most,
        function: blamed.map(name),
        stack,
    })
}

/// A `shutdown()` of both directions is counted as a `close()` is, and leaves the descriptor.
fn was_shut_down(view: &SocketView<'_>) -> bool {
    let entry = view.socket.entry;
    view.is_hidden() && entry.is_some_and(|entry| entry.old_state == LAST_ACK)
}

impl Siblings<'_> {
    pub fn evidence(&self, group: &Group<'_>) -> String {
        let others = explanation::sockets(usize::try_from(self.closed).unwrap_or(usize::MAX));
        let place = match &self.function {
            Some(name) if self.most == self.closed => format!(" in {name}"),
            Some(name) => format!(", {} of them in {name}", self.most),
            None => String::new(),
        };
        let were = explanation::agree(self.closed as usize, "was", "were");
        let these = match group.count() {
            1 => "this one was".to_owned(),
            count => format!("these {count} were"),
        };
        format!("{others} opened at the same place {were} closed meanwhile{place}; {these} not")
    }
}

/// Where the sockets were opened, as far as that was seen.
pub fn opened(views: &[SocketView<'_>]) -> BTreeSet<u64> {
    let opened = views.iter().filter_map(|view| view.socket.history.opened);
    opened.map(|operation| operation.stack).collect()
}

fn name(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| frame.place())
}
