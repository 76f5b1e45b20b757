//! What a site says to a person, and the small phrases all rules use.

use std::collections::BTreeSet;

use tracer_common::event::OUTSIDE;

use super::{Group, SocketView};
pub use crate::model::quantity::span;
use crate::model::{
    quantity::{self, counted},
    socket::{LastOperation, SocketOperation},
    verdict::Confidence,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence a person can act on.
    pub summary: String,
    /// One fact a line, with numbers.
    pub evidence: Vec<String>,
    pub advice: String,
}

/// `1 connection`, `12 connections`.
pub fn sockets(count: usize) -> String {
    counted(count as u64, "connection")
}

pub fn threads(count: usize) -> String {
    counted(count as u64, "thread")
}

/// The words that change with the number of connections a sentence is about.
pub struct Number {
    pub are: &'static str,
    pub were: &'static str,
    pub have: &'static str,
    pub they: &'static str,
    pub them: &'static str,
    pub their: &'static str,
    pub descriptors: &'static str,
}

pub const fn number(count: usize) -> &'static Number {
    const ONE: Number = Number {
        are: "is",
        were: "was",
        have: "has",
        they: "it",
        them: "it",
        their: "its",
        descriptors: "descriptor",
    };
    const MANY: Number = Number {
        are: "are",
        were: "were",
        have: "have",
        they: "they",
        them: "them",
        their: "their",
        descriptors: "descriptors",
    };
    if count == 1 { &ONE } else { &MANY }
}

/// Other words that do: `agree(n, "waits", "wait")`.
pub fn agree<'a>(count: usize, one: &'a str, many: &'a str) -> &'a str {
    quantity::agree(count as u64, one, many)
}

/// `1`, or `between 35 and 120`.
pub fn range(values: impl Iterator<Item = u64>) -> String {
    let values: BTreeSet<u64> = values.collect();
    match (values.first(), values.last()) {
        (Some(low), Some(high)) if low == high => low.to_string(),
        (Some(low), Some(high)) => format!("between {low} and {high}"),
        _ => "unknown".to_owned(),
    }
}

pub fn recv_q(group: &Group<'_>) -> String {
    range(group.views.iter().map(|view| u64::from(view.socket.recv_q)))
}

/// How long ago the operations were: the latest of the group.
pub fn ago(
    group: &Group<'_>,
    of: impl Fn(&SocketView<'_>) -> Option<LastOperation>,
) -> Option<String> {
    let latest = group
        .views
        .iter()
        .filter_map(of)
        .map(|operation| operation.at)
        .max()?;
    Some(span(group.now.saturating_sub(latest)))
}

pub fn how_many(group: &Group<'_>, that: impl Fn(&SocketView<'_>) -> bool) -> usize {
    group.views.iter().filter(|view| that(view)).count()
}

pub fn kind(operation: &LastOperation) -> &'static str {
    match operation.kind {
        SocketOperation::Accept => "accept()",
        SocketOperation::Connect => "connect()",
        SocketOperation::Recv => "a read",
        SocketOperation::Send => "a write",
        SocketOperation::Close => "close()",
        SocketOperation::Other(_) => "a system call",
    }
}

/// Who did it.
pub fn by(operation: &LastOperation) -> String {
    match operation.pid {
        OUTSIDE => "a process outside of this pid namespace".to_owned(),
        pid => format!("pid {pid} thread {}", operation.tid),
    }
}

/// ` in handle_client`, or nothing.
pub fn within(group: &Group<'_>) -> String {
    group
        .function()
        .map(|name| format!(" in {name}"))
        .unwrap_or_default()
}

/// How sure it is that nobody will come back to a socket.
pub fn confidence(view: &SocketView<'_>, sure: bool) -> Confidence {
    if view.was_told_once() && view.runs_tasks() {
        Confidence::Low
    } else if sure {
        Confidence::High
    } else {
        Confidence::Medium
    }
}

/// What the event loops of the process know of sockets that no thread works on.
pub fn watching(group: &Group<'_>) -> Vec<String> {
    let told = group
        .views
        .iter()
        .filter(|view| view.was_told_once())
        .count();
    let looked = group.views.iter().all(SocketView::epoll_known);
    let n = number(group.count());
    let mut lines = vec![match (told, looked) {
        (0, true) => format!("no epoll set watches {} {}", n.their, n.descriptors),
        (0, false) => format!(
            "no epoll set was seen to watch {}, but not all could be looked at",
            n.them
        ),
        _ => format!(
            "an epoll set watches {told} of {}, edge-triggered: it has told of the hang-up and does not tell \
             again",
            group.count()
        ),
    }];
    if told > 0 && group.oldest().is_some_and(SocketView::runs_tasks) {
        lines.push(
            "its runtime watches all connections like that, and the kernel does not see its goroutines or \
             tasks: one that keeps a connection while it waits for something else looks the same"
                .to_owned(),
        );
    }
    lines
}

/// Where the age comes from, when it is only a bound.
pub fn age_evidence(group: &Group<'_>) -> Option<String> {
    let older = how_many(group, |view| view.socket.since_is_lower_bound);
    (older > 0).then(|| {
        format!(
            "the beginning of {older} of {} was not seen: {} is at least the time since {} last packet",
            group.count(),
            agree(older, "its age", "their age"),
            number(older).their
        )
    })
}

/// The advice every `CLOSE_WAIT` finding ends with.
pub const NOT_KEEPALIVE: &str = "Shorter TCP keepalive would not fix this: it moves the connection \
     from CLOSE_WAIT to CLOSE, out of sight of ss and netstat, and the descriptor stays open.";
