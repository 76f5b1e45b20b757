//! Who listens to the connections of a JavaScript program: whom to blame where none of its functions was on a stack, for
//! reads and accepts are made by the event loop. It is who handles them; where they should be closed it does not prove.

use super::{EvidenceSource, Group, Proof, SocketView};
use crate::model::{
    listeners::{Event, EventListeners, Heard, Listeners},
    report::{self, Blame},
    stack::{Frame, NODE},
    verdict::Confidence,
};

/// Listeners of one event that a sentence has room for.
const MAX_NAMED: usize = 3;

/// The listeners of one event, among which somebody can be blamed.
#[derive(Clone, Copy, Debug)]
pub struct Handling<'a> {
    pub listeners: &'a Listeners,
    pub event: Event,
    /// Why nobody closes after the end that was read.
    pub explains: bool,
}

impl<'a> Handling<'a> {
    pub fn frames(&self) -> &'a [Frame] {
        self.listeners.of(self.event)
    }
}

impl<'a> SocketView<'a> {
    /// What the process that has it knows of its listeners.
    pub fn heard(&self) -> Option<&'a Heard> {
        let inode = self.socket.inode;
        let mut pids = self.holder_pids().iter();
        pids.find_map(|pid| self.tracker.listeners(*pid, inode))
            .filter(|_| inode != 0 && !self.has_ended())
    }

    pub fn is_blamed_by_listener(&self) -> bool {
        let proof = self.proof.as_ref();
        proof.is_some_and(|proof| proof.handling.is_some())
    }

    pub(super) fn handling(&self) -> Option<Handling<'a>> {
        let Some(Heard::By(listeners)) = self.heard() else {
            return None;
        };
        let event = listeners.handling()?;
        let found = Handling {
            listeners,
            event,
            explains: false,
        };
        let blamed = found.frames().get(self.context.blame(found.frames())?)?;
        (!hands_on(event, blamed)).then_some(found)
    }
}

/// A framework that was installed as a package takes all requests of a server, and gives each to the handler that the
/// program has for it: which one that was, nothing tells.
fn hands_on(event: Event, blamed: &Frame) -> bool {
    let file = blamed.file.as_deref().unwrap_or_default();
    event == Event::Request && file.contains("/node_modules/")
}

impl<'a> Proof<'a> {
    /// Where nobody on the stack can be blamed, whoever hears of what comes on the connection is.
    pub fn or_listener(mut self, view: &SocketView<'a>) -> Self {
        let stack = view.stack(self.evidence_source.operation(view));
        if stack.is_some_and(|stack| view.context.blame(&stack.frames).is_some()) {
            return self;
        }
        let Some(mut handling) = view.handling() else {
            return self;
        };
        let end_was_read = matches!(
            self.evidence_source,
            EvidenceSource::Eof | EvidenceSource::Nothing
        );
        // What gives it to another stream, or awaits it, has listened for the end once, and does no more.
        let hears_itself = !handling.event.is_of_server();
        handling.explains =
            end_was_read && hears_itself && handling.listeners.nobody_hears_the_end();
        if !handling.explains {
            // Who was told of the end and keeps its own side open may have something to say still.
            let answers_later = end_was_read && handling.listeners.answers_after_the_end();
            self.confidence = self.confidence.min(if answers_later {
                Confidence::Low
            } else {
                Confidence::Medium
            });
        }
        self.handling = Some(handling);
        self
    }
}

/// Of the group, where that is how it came to blame somebody.
pub fn of<'a>(views: &[SocketView<'a>], blamed: Option<&Frame>) -> Option<Handling<'a>> {
    let by_listener = blamed?.module.as_deref() == Some(NODE);
    let mut proofs = views.iter().filter_map(|view| view.proof.as_ref());
    let found = proofs.find_map(|proof| proof.handling);
    found.filter(|_| by_listener)
}

/// Goes on a sentence about the connections.
pub fn summary(group: &Group<'_>) -> Option<String> {
    let (handling, blamed) = group.handling.zip(group.blamed)?;
    Some(format!("; {}", goes_to(handling, blamed)))
}

pub fn evidence(group: &Group<'_>) -> Option<String> {
    let view = telling(group)?;
    let text = match view.heard()? {
        Heard::Unknown(why) => format!("unknown: {}", why.words()),
        Heard::By(listeners) => words(listeners),
    };
    let whose = match group.count() {
        1 => "",
        _ => " of the oldest",
    };
    Some(format!("listeners{whose}: {text}"))
}

pub fn advice(group: &Group<'_>) -> Option<String> {
    let (handling, blamed) = group.handling.zip(group.blamed)?;
    Some(if handling.explains {
        "The sockets are half open (allowHalfOpen) and nobody listens for 'end' (any more): end() them in an 'end' \
         listener, or do not ask for allowHalfOpen."
            .to_owned()
    } else {
        format!(
            "Begin at {}: it handles these connections, and need not be where they should be closed.",
            named(blamed)
        )
    })
}

/// For machines: of the oldest.
pub fn told(group: &Group<'_>) -> Option<report::Listeners> {
    let heard = telling(group)?.heard()?;
    Some(match heard {
        Heard::Unknown(why) => report::Listeners {
            unknown: Some(why.words().to_owned()),
            ..report::Listeners::default()
        },
        Heard::By(listeners) => report::Listeners {
            allow_half_open: listeners.half_open,
            end_is_heard: Some(listeners.end_is_heard).filter(|_| !listeners.is_below_tls),
            events: listeners.events.iter().map(event).collect(),
            blamed: group
                .handling
                .map(|handling| handling.event.name().to_owned()),
            unknown: None,
        },
    })
}

fn event(one: &EventListeners) -> report::EventListeners {
    report::EventListeners {
        event: one.event.name().to_owned(),
        of: if one.event.is_of_server() {
            report::Emitter::Server
        } else {
            report::Emitter::Socket
        },
        functions: one.functions.iter().map(Blame::from).collect(),
        more: one.more,
    }
}

fn telling<'g, 'a>(group: &'g Group<'a>) -> Option<&'g SocketView<'a>> {
    let blamed = group.views.iter().find(|view| view.is_blamed_by_listener());
    blamed.or_else(|| group.views.iter().find(|view| view.heard().is_some()))
}

fn goes_to(handling: Handling<'_>, blamed: &Frame) -> String {
    let whose = if handling.event.is_of_server() {
        "of their server "
    } else {
        ""
    };
    format!(
        "'{}' {whose}goes to {}",
        handling.event.name(),
        named(blamed)
    )
}

/// `data: onLeakyData (app.js:2), end: none, allowHalfOpen: true`
fn words(listeners: &Listeners) -> String {
    let mut parts = Vec::new();
    let mut of = |event: Event, always: bool| {
        let functions = listeners.of(event);
        let more = functions.len().saturating_sub(MAX_NAMED);
        let mut names: Vec<String> = functions.iter().take(MAX_NAMED).map(named).collect();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        if names.is_empty() && always {
            names.push("none of the program's".to_owned());
        }
        if !names.is_empty() {
            parts.push(format!("{}: {}", event.name(), names.join(" and ")));
        }
    };
    let reads = !listeners.of(Event::Readable).is_empty() || listeners.is_below_tls;
    of(Event::Data, !reads);
    of(Event::Readable, false);
    of(Event::End, listeners.end_is_heard);
    if listeners.is_below_tls {
        parts.push("those of the TLS stream over it are not known".to_owned());
    } else if !listeners.end_is_heard {
        parts.push("end: none".to_owned());
    }
    let mut of = |event: Event| {
        for function in listeners.of(event).iter().take(1) {
            parts.push(format!("{}: {}", event.name(), named(function)));
        }
    };
    of(Event::Close);
    of(Event::Error);
    if let Some(half_open) = listeners.half_open {
        parts.push(format!("allowHalfOpen: {half_open}"));
    }
    let mut of_server = Vec::new();
    for event in Event::OF_SERVER {
        for function in listeners.of(event).iter().take(1) {
            of_server.push(format!("{}: {}", event.name(), named(function)));
        }
    }
    let own = parts.join(", ");
    if of_server.is_empty() {
        return own;
    }
    format!("{own}; of the server: {}", of_server.join(", "))
}

/// `onLeakyData (app.js:2)`
fn named(frame: &Frame) -> String {
    let function = frame.function.as_deref().unwrap_or(Frame::ANONYMOUS);
    let file = frame.file.as_deref();
    let file = file.map(|file| file.rsplit('/').next().unwrap_or(file));
    match (file, frame.line) {
        (Some(file), Some(line)) => format!("{function} ({file}:{line})"),
        (Some(file), None) => format!("{function} ({file})"),
        (None, _) => function.to_owned(),
    }
}
