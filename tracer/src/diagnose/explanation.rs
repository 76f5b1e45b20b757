//! What a site says to a person, and the small phrases all rules use.

use std::collections::BTreeSet;

use tracer_common::event::OUTSIDE;

use super::{Group, SocketView};
pub use crate::model::{quantity::span, verdict::NOT_KEEPALIVE};
use crate::model::{
    quantity::{self, counted},
    socket::{LastOperation, SocketOperation},
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
        pid => format!("pid {pid} {}", operation.actor()),
    }
}

/// ` in handle_client`, or nothing.
pub fn within(group: &Group<'_>) -> String {
    group
        .function()
        .map(|name| format!(" in {name}"))
        .unwrap_or_default()
}

/// What was looked at to exclude other causes, and what could not be.
pub fn looks(group: &Group<'_>) -> Vec<String> {
    let mut proofs = group.views.iter().filter_map(|view| view.proof.as_ref());
    let Some(proof) = proofs.find(|proof| proof.confidence == group.confidence) else {
        return Vec::new();
    };
    let line = |title: &str, looks: &[&str]| {
        (!looks.is_empty()).then(|| format!("{title}: {}", looks.join("; ")))
    };
    let excluded = line("looked at", &proof.looks.excluded);
    let missing = line("not excluded", &proof.looks.missing);
    excluded.into_iter().chain(missing).collect()
}

/// Where the age comes from, when it is only a bound.
pub fn age_evidence(group: &Group<'_>) -> Option<String> {
    let bound: Vec<_> = group
        .views
        .iter()
        .filter(|view| view.socket.since_is_lower_bound)
        .collect();
    let most = bound
        .iter()
        .map(|view| view.socket.age_at_most(view.now))
        .collect::<Option<Vec<_>>>()
        .and_then(|ages| ages.into_iter().max());
    let at_most = most.map_or_else(String::new, |most| {
        format!(
            ", and at most that since {} last data ({})",
            number(bound.len()).their,
            span(most)
        )
    });
    let undecided = group
        .views
        .iter()
        .filter(|view| view.is_undecided())
        .count();
    let younger = match undecided {
        0 => String::new(),
        undecided => format!(
            "; {undecided} of them may be younger than {}",
            span(group.oldest().map_or(0, |view| view.min_age))
        ),
    };
    let older = bound.len();
    (older > 0).then(|| {
        format!(
            "the beginning of {older} of {} was not seen: {} is at least the time since {} last \
             packet{at_most}{younger}",
            group.count(),
            agree(older, "its age", "their age"),
            number(older).their
        )
    })
}
