//! Per-CPU counters: nothing is dropped, refused or skipped without one of these moving.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter { $($(#[doc = $doc])+ $name,)* }
        /// Names in the order of the enum, for reports.
        pub const NAMES: &[&str] = &[$($text,)*];
    };
}

counters! {
    /// Records that had a reason to reach user space: `Seen = Submitted + Lost`.
    Seen = "events_seen",
    /// Records put into the event ring.
    Submitted = "events_submitted",
    /// The event ring was full.
    Lost = "events_lost",
    /// Stack copies wanted because their key was new.
    StackSeen = "stacks_seen",
    /// Stack copies put into the stack ring.
    StackSubmitted = "stacks_submitted",
    /// The stack ring was full.
    StackLost = "stacks_lost",
    /// A process asked for more copies than its rate allows; the key stays new.
    StackLimited = "stacks_limited",
    /// Calls whose stack is known in part and that got no copy of their own.
    StackShared = "stacks_shared",
    /// No user stack could be read (kernel thread, exiting task, unreadable page).
    StackNone = "stacks_none",
    /// A socket took the table place of another, which was sent to user space.
    SlotsEvicted = "table_spilled",
    /// There was no room for a change to an epoll set; how the loop treats its sockets is not known then.
    EpollLost = "epoll_changes_lost",
    /// A hook saw a socket that is not TCP.
    NotTcp = "skipped_not_tcp",
    /// A load-time filter refused the socket or process.
    Filtered = "skipped_filtered",
    /// With a port filter: calls on sockets that pass it.
    Matched = "matched_ports",
    /// A healthy socket was closed at a place for which there was no room any more.
    CloseUncounted = "closes_uncounted",
    /// A call that proves nothing: an error, a peek, a zero-length read.
    Nothing = "skipped_nothing",
    /// The acting task is a kernel thread.
    Kernel = "skipped_kernel_task",
    /// A map lookup failed that cannot fail; a defect if it ever moves.
    NoMap = "defect_no_map",
}

pub const COUNT: u32 = NAMES.len() as u32;
