//! A thread that was given the socket by another one, as far as that can be told without a touch of its own: by what it
//! closes, or by when it was started.

use super::{
    Group, SocketView,
    at_work::{AtWork, How},
    looks::Looks,
};
use crate::diagnose::{
    context::{
        activations::Activation,
        closers::Closer,
        waits::{self, WaitsFor},
    },
    explanation,
};

/// Nobody else is at work on it, and who closes the others of its kind is kept from that.
pub(super) fn closes<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    let is_over = matches!(view.activation(), Activation::Over(_));
    if !is_over || view.is_watched() || view.is_polled() {
        return None;
    }
    let opened = view.socket.history.opened?;
    let closer = view.context.closer_of(opened, view.last_operation()?)?;
    Some(AtWork {
        thread: closer.thread,
        waits: view.context.waits.of(closer.thread),
        how: How::Closes(closer),
        behind: None,
    })
}

/// Nothing of it was read, and it has a thread of its own, which has not come to that.
pub(super) fn started<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    if view.is_watched() || view.is_polled() {
        return None;
    }
    let thread = *view.context.started_for.get(&view.socket.cookie)?;
    Some(AtWork {
        thread,
        waits: view.context.waits.of(thread),
        how: How::Started,
        behind: None,
    })
}

/// Nobody has done more than accept it, and the process that was started for it has not come to that.
pub(super) fn forked<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    if view.is_watched() || view.is_polled() {
        return None;
    }
    let thread = view.context.own_of(view.socket.cookie)?;
    let waits = view.context.waits.of(thread);
    let tells = !matches!(
        waits,
        WaitsFor::Unknown | WaitsFor::Cpu | WaitsFor::Stopped | WaitsFor::NewConnections
    );
    tells.then_some(AtWork {
        thread,
        waits,
        how: How::Forked,
        behind: None,
    })
}

/// What ties them to that thread, and what it does now.
pub(super) fn evidence(group: &Group<'_>, work: &AtWork<'_>) -> Vec<String> {
    let mut lines = vec![match work.how {
        How::Closes(closer) => has_closed(closer),
        How::Forked => format!(
            "{} is of a process that was started right after the oldest was accepted, and holds no other of them; who \
             accepted it has closed its descriptor",
            work.thread.actor()
        ),
        _ => format!(
            "{} was started right after the oldest was accepted, as each of its kind was after one of its own, and has \
             touched no client",
            work.thread.actor()
        ),
    }];
    lines.extend(group.oldest().map(|view| {
        let now = waits::one(&view.context.waits, work.thread, group.now);
        format!("now: {now}")
    }));
    lines
}

pub(super) fn looks(work: &AtWork<'_>) -> Looks {
    if let How::Forked = work.how {
        let waits = work.waits;
        return Looks::default()
            .look(
                false,
                "",
                "its process has not touched it: that it was started for this one is told by when that was",
            )
            .look(
                matches!(waits, WaitsFor::Futex) || !waits.may_bring_work(),
                "",
                "what it waits for may be other work",
            );
    }
    Looks::default().doubt(
        true,
        match work.how {
            How::Closes(_) => {
                "that these were handed to it is told by who closed the others: they may have been forgotten before that"
            }
            _ => "that it was started for this one is told by the order of times alone",
        },
    )
}

fn has_closed(closer: Closer<'_>) -> String {
    let name = closer.function.function.clone();
    format!(
        "{} opened at the same place {} closed in {}, which {} is in now: these may be in its queue",
        explanation::sockets(closer.closed as usize),
        explanation::agree(closer.closed as usize, "was", "were"),
        name.unwrap_or_else(|| closer.function.place()),
        closer.thread.actor()
    )
}
