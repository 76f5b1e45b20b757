//! Who opened a connection: whom to blame where the last use of an outgoing one was made by an event loop or a library's thread,
//! with no function of the program's own on the stack, or by another process that does not hold it any more. Where it should
//! be closed this does not prove.

use super::{EvidenceSource, Group, Proof, SocketView, explanation};
use crate::model::{report::Direction, socket::LastOperation, stack::Frame, verdict::Confidence};

/// Why who opened it is blamed, and not who used it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// None of the program's own functions is on the stack of that.
    ByLoop(&'a [Frame]),
    /// Another process did, and does not hold it any more.
    ByAnother(&'a [Frame]),
}

impl<'a> Opening<'a> {
    pub const fn frames(self) -> &'a [Frame] {
        match self {
            Self::ByLoop(frames) | Self::ByAnother(frames) => frames,
        }
    }
}

impl<'a> Proof<'a> {
    /// Own code before a library's, and that before nobody.
    pub fn or_opener(mut self: Box<Self>, view: &SocketView<'a>) -> Box<Self> {
        let of_use = matches!(
            self.evidence_source,
            EvidenceSource::LastUsed | EvidenceSource::Eof
        );
        let last = self.evidence_source.operation(view);
        if !of_use || self.handling.is_some() || last == view.socket.history.opened {
            return self;
        }
        self.opening = opening(view, last);
        if self.opening.is_some() {
            self.confidence = self.confidence.min(Confidence::Medium);
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
    let used = view.stack(Some(last));
    let used = used.and_then(|used| used.frames.get(view.context.blame(&used.frames)?));
    let is_better = used.is_none_or(|used| {
        // If both were on one stack, one of these would be blamed.
        let both = [used].into_iter().chain(stack.frames.get(at)).cloned();
        view.context.blame(&both.collect::<Vec<Frame>>()) == Some(1)
    });
    is_better.then_some(Opening::ByLoop(&stack.frames))
}

/// Goes on a sentence about the connections.
pub fn summary(group: &Group<'_>) -> Option<String> {
    Some(format!("; opened in {}", name(group)?))
}

pub fn evidence(group: &Group<'_>) -> Option<String> {
    let n = explanation::number(group.count());
    let name = name(group)?;
    let mut openings = group
        .views
        .iter()
        .filter_map(|view| view.proof.as_ref()?.opening);
    Some(match openings.next()? {
        Opening::ByLoop(_) => format!(
            "{} last use was made by an event loop or a library, with no function of the program's own on the stack; {} {} \
             opened in {name}",
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
