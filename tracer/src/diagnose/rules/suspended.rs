//! A suspended task that has a connection and waits for something else: `owner-blocked` without a thread. Proof: a
//! variable of its coroutines leads to the socket, and none of another task as directly.

use super::{
    Group, SocketView,
    at_work::{AtWork, How},
    looks::Looks,
    owner_blocked::place,
};
use crate::{
    diagnose::{
        context::{virtual_threads::Crowd, waits},
        explanation::agree,
    },
    model::{input::Thread, wait::Wait},
};

/// A task that waits for something else. What reads another connection is a relay, and another story.
pub(super) fn had<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    let inode = view.socket.inode;
    if inode == 0 || view.context.pairs.partner_of(view.socket.cookie).is_some() {
        return None;
    }
    let mut tasks = view
        .holder_pids()
        .iter()
        .filter_map(|pid| view.context.task_of(*pid, inode));
    let thread = tasks
        .next()
        .filter(|thread| !matches!(thread.wait, Wait::Receive(_)))?;
    Some(AtWork {
        thread,
        waits: view.context.waits.of(thread),
        how: How::Has,
        behind: None,
    })
}

/// Some virtual thread, of which only is known that it waits where all others do that may have it.
pub(super) fn one_of<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    let operations = view.last_operation();
    if operations.is_some_and(|last| !view.context.is_of_unknown_virtual_thread(last)) {
        return None;
    }
    let mut pids = view.holder_pids().iter();
    let crowd = *pids.find_map(|pid| view.context.virtual_crowds.get(pid))?;
    Some(AtWork {
        thread: crowd.thread,
        waits: view.context.waits.of(crowd.thread),
        how: How::OneOf(crowd),
        behind: None,
    })
}

/// How many there are of both.
pub(super) fn are_many(group: &Group<'_>, crowd: Crowd<'_>) -> Vec<String> {
    let mut lines = vec![format!(
        "{} virtual threads wait at one place and are not known to have touched any other connection; of {} {} it is not \
         known which virtual thread has {}",
        crowd.waiting,
        crowd.connections,
        agree(crowd.connections, "connection", "connections"),
        agree(crowd.connections, "it", "them"),
    )];
    if let Some(view) = group.oldest() {
        lines.push(format!(
            "one of them, now: {}",
            waits::one(&view.context.waits, crowd.thread, group.now)
        ));
    }
    lines
}

/// By how much it is known that the task has them.
pub(super) fn has(group: &Group<'_>, thread: &Thread) -> Vec<String> {
    let name = thread.name.as_deref().unwrap_or("a task");
    let mut lines = vec![format!(
        "a variable of {name} leads to the oldest, and none of another task as directly"
    )];
    if let Some(view) = group.oldest() {
        lines.push(format!(
            "now: {}",
            waits::one(&view.context.waits, thread, group.now)
        ));
        lines.extend(place(view, thread).map(|place| format!("it is suspended in {place}")));
    }
    lines
}

pub(super) fn looks(view: &SocketView<'_>) -> Looks {
    Looks::default()
        .look(view.whole_life_seen(), "", "its opening was not seen")
        .look(view.nothing_lost(), "", "some events were lost")
}
