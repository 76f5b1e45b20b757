//! The thread that should go on with a socket and is kept from it, and how it is known to be that one.

use crate::{
    diagnose::context::{
        activations::Sameness, behind::Behind, closers::Closer, virtual_threads::Crowd,
        waits::WaitsFor,
    },
    model::input::Thread,
};

/// The thread that serves a socket, kept from it.
#[derive(Clone, Copy, Debug)]
pub struct AtWork<'a> {
    pub thread: &'a Thread,
    pub waits: WaitsFor<'a>,
    pub how: How<'a>,
    /// It waits for those that it has started, and these wait there.
    pub behind: Option<Behind<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    /// The call that touched the socket last still runs.
    Call(Sameness<'a>),
    /// The thread is in the functions that touched it last.
    Place,
    /// The thread was started after the connection was opened, and has touched no other.
    Began,
    /// It executes a piece of work, in which it waits since right after its last operation.
    AtOnce,
    /// The thread whose event loop would be told of it.
    Loop,
    /// A suspended task whose coroutines lead to it.
    Has,
    /// It was started right after the connection was accepted, as all of its kind were after one each.
    Started,
    /// The same of its process, which is the only one that holds it.
    Forked,
    /// It closes what others have read, and is in the function in which it does.
    Closes(Closer<'a>),
    /// Some virtual thread of as many as there are connections of which that is all that is known.
    OneOf(Crowd<'a>),
    /// On the CPU at every look since then, or sampled there; and how it is known that the call still runs, if it is.
    Computes {
        since: u64,
        call: Option<Sameness<'a>>,
    },
}

impl How<'_> {
    pub const fn says(self) -> &'static str {
        match self {
            Self::Call(sameness) if sameness.writes_to_it => "it writes to that very connection",
            Self::Call(sameness) if sameness.asked.is_some() => {
                "it waits on a connection that it opened or wrote to after that"
            }
            Self::Call(sameness) if sameness.own_process => {
                "its process was started for this connection"
            }
            Self::Call(sameness) if sameness.nothing_else => {
                "it is the only thread, and has not left a CPU since but for the present wait"
            }
            Self::Call(sameness) if sameness.only_thread => {
                "it is the only thread, has touched nothing else, and began its present wait right after that"
            }
            Self::Call(sameness) if sameness.started_for => {
                "its server started it for this connection alone, and it is at a request of it"
            }
            Self::Call(sameness) if sameness.own_task => {
                "its executor started it for one task, which it is still in, and it has touched no other client"
            }
            Self::Call(sameness) if sameness.own_thread => {
                "it began after that connection was opened, and has touched no other"
            }
            Self::Call(sameness) if sameness.one_each => {
                "it is in the same function, began after that connection was opened, as all others there did after one of \
                 their own, and has touched no other"
            }
            Self::Call(sameness) if sameness.own_goroutine => "it has touched no other client",
            Self::Call(sameness) if !sameness.frames => {
                "it has not left a CPU since but for the present wait; in which functions it was then is not known"
            }
            Self::Call(_) => {
                "it is still in that call: it has not left a CPU since but for the present wait"
            }
            Self::Place => "it is in the same function, though it may have begun other work since",
            Self::AtOnce => {
                "it executes a piece of work, and waits in it since right after that; it may be the next one"
            }
            Self::Began => {
                "it began after that connection was opened and has touched no other, though what it waits for may be \
                 other work"
            }
            Self::Loop => "its epoll set would tell of the hang-up, and nobody waits for that set",
            Self::Has => "its coroutines lead to the connection",
            Self::Started | Self::Forked => {
                "it was started right after that connection was accepted"
            }
            Self::Closes(_) => "it closes those that others have read",
            Self::OneOf(_) => "which virtual thread has it is not known",
            Self::Computes {
                call: Some(call), ..
            } if call.in_call => {
                "it is still in that call, has not waited since, and has touched nothing else"
            }
            Self::Computes { .. } => "it has touched nothing else since",
        }
    }
}
