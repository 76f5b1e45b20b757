//! Who asked for an outgoing connection: whom to blame where the stack of its last use has no function of the program's own, for
//! an event loop or a library's thread made that call. Where it should be closed this does not prove.

use super::{EvidenceSource, Group, Proof, SocketView, explanation};
use crate::model::{report::Direction, stack::Frame, verdict::Confidence};

impl<'a> Proof<'a> {
    /// Own code before a library's, and that before nobody.
    pub fn or_opener(mut self: Box<Self>, view: &SocketView<'a>) -> Box<Self> {
        let of_use = matches!(
            self.evidence_source,
            EvidenceSource::LastUsed | EvidenceSource::Eof
        );
        if !of_use
            || self.handling.is_some()
            || view.direction() != Some(Direction::Connected)
            || view.last_operation() == view.socket.history.opened
        {
            return self;
        }
        let opened = view.stack(view.socket.history.opened);
        let Some(opened) = opened.filter(|opened| !opened.one_of_several) else {
            return self;
        };
        let used = view.stack(self.evidence_source.operation(view));
        let used = used.and_then(|used| used.frames.get(view.context.blame(&used.frames)?));
        if is_better(view, used, &opened.frames) {
            self.opening = Some(&opened.frames);
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

/// If both were on one stack, one of these would be blamed.
fn is_better(view: &SocketView<'_>, used: Option<&Frame>, opened: &[Frame]) -> bool {
    let Some(at) = view.context.blame(opened) else {
        return false;
    };
    let Some(used) = used else {
        return true;
    };
    let both: Vec<Frame> = [used].into_iter().chain(opened.get(at)).cloned().collect();
    view.context.blame(&both) == Some(1)
}

/// Goes on a sentence about the connections.
pub fn summary(group: &Group<'_>) -> Option<String> {
    Some(format!("; opened in {}", name(group)?))
}

pub fn evidence(group: &Group<'_>) -> Option<String> {
    let n = explanation::number(group.count());
    Some(format!(
        "{} last use was made by an event loop or a library, with no function of the program's own on the stack; {} {} opened \
         in {}",
        n.their,
        n.they,
        n.were,
        name(group)?
    ))
}

pub fn advice(group: &Group<'_>) -> Option<String> {
    Some(format!(
        "Begin at {}: it asked for the connection, and need not be where they should be closed.",
        name(group)?
    ))
}

fn name(group: &Group<'_>) -> Option<String> {
    let blamed = group.blamed.filter(|_| group.by_opening)?;
    Some(blamed.function.clone().unwrap_or_else(|| blamed.place()))
}
