//! Who opened a connection: whom to blame where the last use of an outgoing one was made by an event loop or a library's thread,
//! with no function of the program's own on the stack, by another process that does not hold it any more, or by whom is not
//! known. Where it should be closed this does not prove.

use super::{EvidenceSource, Group, Proof, SocketView, explanation};
use crate::model::{report::Direction, socket::LastOperation, stack::Frame, verdict::Confidence};

/// Why who opened it is blamed, and not who used it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// None of the program's own functions is on the stack of that.
    ByLoop(&'a [Frame]),
    /// So it is, and others like it were opened by other functions: whoever uses one need not have opened it.
    OfSeveral(&'a [Frame]),
    /// Another process did, and does not hold it any more.
    ByAnother(&'a [Frame]),
    /// Of the stack of that not all is known, and none of the program's own functions.
    Unknown(&'a [Frame]),
}

impl<'a> Opening<'a> {
    pub const fn frames(self) -> &'a [Frame] {
        match self {
            Self::ByLoop(frames)
            | Self::OfSeveral(frames)
            | Self::ByAnother(frames)
            | Self::Unknown(frames) => frames,
        }
    }

    const fn at_most(self) -> Confidence {
        match self {
            Self::ByLoop(_) | Self::ByAnother(_) => Confidence::Medium,
            Self::OfSeveral(_) | Self::Unknown(_) => Confidence::Low,
        }
    }
}

impl<'a> Proof<'a> {
    /// Own code before a library's, and that before nobody.
    pub fn or_opener(mut self, view: &SocketView<'a>) -> Self {
        let of_use = matches!(
            self.evidence_source,
            EvidenceSource::LastUsed | EvidenceSource::Eof
        );
        let last = self.evidence_source.operation(view);
        if !of_use || self.handling.is_some() || last == view.socket.history.opened {
            return self;
        }
        self.opening = opening(view, last);
        if let Some(opening) = self.opening {
            self.confidence = self.confidence.min(opening.at_most());
        }
        self
    }
}

impl SocketView<'_> {
    pub fn is_blamed_by_opening(&self) -> bool {
        let proof = self.proof.as_ref();
        proof.is_some_and(|proof| proof.opening.is_some())
    }

    /// By anything but the stack that shows the cause.
    pub fn is_blamed_elsewhere(&self) -> bool {
        self.is_blamed_by_listener() || self.is_blamed_by_opening()
    }
}

fn opening<'a>(view: &SocketView<'a>, last: Option<LastOperation>) -> Option<Opening<'a>> {
    let (opened, last) = (view.socket.history.opened?, last?);
    let stack = view.stack(Some(opened))?;
    let at = view.context.blame(&stack.frames)?;
    if view.holds(opened.pid) && !view.holds(last.pid) && view.all_holders_seen() {
        return Some(Opening::ByAnother(&stack.frames));
    }
    if view.direction() != Some(Direction::Connected) {
        return None;
    }
    let used_on = view.stack(Some(last));
    let used = used_on.and_then(|used| used.frames.get(view.context.blame(&used.frames)?));
    let blamed = stack.frames.get(at)?;
    let is_better = used.is_none_or(|used| view.context.outranks(blamed, used));
    let is_whole = used_on
        .is_some_and(|used| !used.truncated && !used.one_of_several && !used.frames.is_empty());
    let is_shared = || {
        let place = view.context.last_place(last.stack);
        let key = place.map(|place| (place, view.socket.endpoints().remote));
        key.is_some_and(|key| view.context.of_several_openers.contains(&key))
    };
    is_better.then_some(if is_whole && is_shared() {
        Opening::OfSeveral(&stack.frames)
    } else if is_whole {
        Opening::ByLoop(&stack.frames)
    } else {
        Opening::Unknown(&stack.frames)
    })
}

/// Goes on a sentence about the connections.
pub fn summary(group: &Group<'_>) -> Option<String> {
    Some(format!("; opened in {}", name(group)?))
}

pub fn evidence(group: &Group<'_>) -> Option<String> {
    let n = explanation::number(group.count());
    let name = name(group)?;
    let openings = || {
        let views = group.views.iter();
        views.filter_map(|view| view.proof.as_ref()?.opening)
    };
    // Said of all: what holds of the one that is known least.
    let least = |opening: &Opening<'_>| match opening {
        Opening::Unknown(_) => 0,
        Opening::OfSeveral(_) => 1,
        Opening::ByLoop(_) | Opening::ByAnother(_) => 2,
    };
    Some(match openings().min_by_key(least)? {
        Opening::ByLoop(_) => format!(
            "{} last use was made by an event loop or a library, with no function of the program's own on the stack; {} {} \
             opened in {name}",
            n.their, n.they, n.were,
        ),
        Opening::OfSeveral(_) => format!(
            "{} last use was made by an event loop or a library, with no function of the program's own on the stack; {} {} \
             opened in {name}, others like {} elsewhere: of connections that are kept in a pool another function may have been the \
             last to use one",
            n.their, n.they, n.were, n.them,
        ),
        Opening::Unknown(_) => format!(
            "who made {} last use is not known to the end of the stack; {} {} opened in {name}",
            n.their, n.they, n.were,
        ),
        Opening::ByAnother(_) => format!(
            "{} last use was made by another process, which does not hold {} any more; who does opened {} in {name}",
            n.their, n.them, n.them,
        ),
    })
}

pub fn advice(group: &Group<'_>) -> Option<String> {
    Some(format!(
        "Begin at {}: it opened the connection, and need not be where that should be closed.",
        name(group)?
    ))
}

fn name(group: &Group<'_>) -> Option<String> {
    let blamed = group.blamed.filter(|_| group.by_opening)?;
    Some(blamed.function.clone().unwrap_or_else(|| blamed.place()))
}
