//! A suspended task that has a connection and waits for something else: `owner-blocked` without a thread. Proof: a
//! variable of its coroutines leads to the socket, and none of another task as directly.

use super::{
    Group, SocketView,
    looks::Looks,
    owner_blocked::{AtWork, How, place},
};
use crate::{
    diagnose::context::waits,
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
