//! Which stack of a site matters for its verdict.

use crate::model::report::{Holder, Site, StackName};
use crate::model::stack::Frame;
use crate::model::verdict::Verdict;

/// From the most telling to the least, for a verdict that asks for a stack that was not taken.
const BEST_FIRST: [StackName; 4] = [
    StackName::LastUsed,
    StackName::Eof,
    StackName::Holders,
    StackName::Opened,
];

/// The stack that matters; `None` when there is none worth showing.
pub(super) fn telling(site: &Site) -> Option<StackName> {
    let wanted = match site.verdict {
        Verdict::EofIgnored | Verdict::HalfCloseNotForwarded => StackName::Eof,
        Verdict::NeverRead | Verdict::IdlePool | Verdict::GcDependent => StackName::Opened,
        Verdict::NeverAccepted
        | Verdict::WorkerStarvation
        | Verdict::OwnerBlocked
        | Verdict::InheritedFd
        | Verdict::ProcessStopped => StackName::Holders,
        Verdict::LostReference | Verdict::Parked if site.stacks.taken_out.is_some() => {
            StackName::TakenOut
        }
        Verdict::LostReference
        | Verdict::EventLost
        | Verdict::ReadingPaused
        | Verdict::FdInFlight
        | Verdict::FdLimit
        | Verdict::SelectLimit
        | Verdict::HiddenClosed
        | Verdict::ClosedAtExit
        | Verdict::UpstreamSilent
        | Verdict::Parked
        | Verdict::Unknown => StackName::LastUsed,
    };
    // A socket nobody accepted has no stack of its own: any other would be someone else's.
    let others: &[StackName] = if site.verdict == Verdict::NeverAccepted {
        &[]
    } else {
        &BEST_FIRST
    };
    let mut candidates = [wanted].into_iter().chain(others.iter().copied());
    candidates.find(|name| frames_of(site, *name).is_some())
}

/// An empty list tells as little as none.
pub(super) fn frames_of(site: &Site, name: StackName) -> Option<&[Frame]> {
    let stacks = &site.stacks;
    let frames = match name {
        StackName::Opened => stacks.opened.as_deref(),
        StackName::Eof => stacks.eof.as_deref(),
        StackName::LastUsed => stacks.last_used.as_deref(),
        StackName::TakenOut => stacks.taken_out.as_deref(),
        StackName::SiblingClose => stacks.sibling_close.as_deref(),
        StackName::Holders => holder(site).map(|holder| holder.stack.as_slice()),
    };
    frames.filter(|frames| !frames.is_empty())
}

/// Where a thread is the cause, it comes first, and no other's stack stands for it.
pub(super) fn holder(site: &Site) -> Option<&Holder> {
    let is_cause = matches!(
        site.verdict,
        Verdict::WorkerStarvation | Verdict::OwnerBlocked | Verdict::NeverAccepted
    );
    let holders = site.stacks.holders.iter();
    let mut with_stack = holders
        .take(if is_cause { 1 } else { usize::MAX })
        .filter(|holder| !holder.stack.is_empty());
    with_stack.next()
}
