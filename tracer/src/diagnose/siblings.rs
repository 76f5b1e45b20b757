//! How the others are closed: sockets opened at the same place as the stuck ones, by the places where
//! `close()` was called on them. Counted from when the first socket was stuck.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Group, words};
use crate::{
    model::stack::{Frame, Stack},
    track::Tracker,
};

/// Places of `close()` that are named for one place of opening.
const MAX_NAMED: usize = 8;

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

/// Stacks that have to be named before [`of`] can tell.
pub fn demands(tracker: &Tracker, opened: &BTreeSet<u64>) -> Vec<u64> {
    let mut closes: Vec<_> = tracker.closes_of(opened).collect();
    closes.sort_by_key(|closes| (std::cmp::Reverse(closes.count), closes.closed));
    closes.dedup_by_key(|closes| closes.closed);
    closes.iter().take(MAX_NAMED).map(|c| c.closed).collect()
}

/// `None` when no sibling was closed at a place that is known.
pub fn of<'a>(group: &Group<'a>) -> Option<Siblings<'a>> {
    let first = group.oldest()?;
    let opened = opened(&group.cases);
    let mut closed = 0;
    let mut places: BTreeMap<String, (u64, &Stack, Option<&Frame>)> = BTreeMap::new();
    for closes in first.tracker.closes_of(&opened) {
        closed += closes.count;
        let Some(stack) = first.tracker.stack(closes.closed) else {
            continue;
        };
        let blamed = first.blamed(stack);
        let place = blamed.map_or_else(String::new, name);
        let known = places.entry(place).or_insert((0, stack, blamed));
        known.0 += closes.count;
    }
    let (most, stack, blamed) = places.into_values().max_by_key(|(count, ..)| *count)?;
    Some(Siblings {
        closed,
        most,
        function: blamed.map(name),
        stack,
    })
}

impl Siblings<'_> {
    pub fn evidence(&self, group: &Group<'_>) -> String {
        let others = words::sockets(usize::try_from(self.closed).unwrap_or(usize::MAX));
        let place = match &self.function {
            Some(name) if self.most == self.closed => format!(" in {name}"),
            Some(name) => format!(", {} of them in {name}", self.most),
            None => String::new(),
        };
        let were = if self.closed == 1 { "was" } else { "were" };
        let these = match group.count() {
            1 => "this one was".to_owned(),
            count => format!("these {count} were"),
        };
        format!("{others} opened at the same place {were} closed meanwhile{place}; {these} not")
    }
}

/// Where the sockets were opened, as far as that was seen.
pub fn opened(cases: &[Case<'_>]) -> BTreeSet<u64> {
    let opened = cases.iter().filter_map(|case| case.socket.history.opened);
    opened.map(|touch| touch.stack).collect()
}

fn name(frame: &Frame) -> String {
    frame.function.clone().unwrap_or_else(|| frame.place())
}
