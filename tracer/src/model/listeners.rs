//! Which functions a JavaScript program has hear of a connection's events, as its own objects say: who handles it, not
//! where it should have been closed.

use serde::{Deserialize, Serialize};

use super::stack::Frame;

/// Of one socket that a process holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketListeners {
    pub inode: u64,
    pub heard: Heard,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heard {
    By(Listeners),
    Unknown(WhyUnheard),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listeners {
    /// The end of the stream does not end what this side sends, as the program has asked for.
    pub half_open: Option<bool>,
    /// Something besides `net.Socket` itself listens for 'end'.
    pub end_is_heard: bool,
    /// A parser of HTTP has it.
    pub is_http: bool,
    /// It is the server's of TLS: what listens to the stream over it is not known.
    #[serde(default)]
    pub is_below_tls: bool,
    /// Those with listeners that are not Node's own.
    pub events: Vec<EventListeners>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventListeners {
    pub event: Event,
    /// In the order in which they are called.
    pub functions: Vec<Frame>,
    /// There are more than are told.
    pub more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    Data,
    Readable,
    End,
    Close,
    Error,
    /// Of the server that has accepted the connection, as are those that follow.
    Connection,
    SecureConnection,
    Request,
}

impl Event {
    pub const OF_SOCKET: [Self; 5] = [
        Self::Data,
        Self::Readable,
        Self::End,
        Self::Close,
        Self::Error,
    ];
    pub const OF_SERVER: [Self; 3] = [Self::Connection, Self::SecureConnection, Self::Request];

    /// As the program calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Readable => "readable",
            Self::End => "end",
            Self::Close => "close",
            Self::Error => "error",
            Self::Connection => "connection",
            Self::SecureConnection => "secureConnection",
            Self::Request => "request",
        }
    }

    pub const fn is_of_server(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::SecureConnection | Self::Request
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WhyUnheard {
    /// The main event loop has no TCP handle with this descriptor: a worker's, or being closed.
    NoHandle,
    /// What the handle leads to is not what it should be.
    Unproven,
    /// It was not the same when it was read again.
    Moved,
    /// There are more than are asked for, or more memory would have to be read.
    TooMany,
}

impl WhyUnheard {
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoHandle => {
                "the main event loop has no handle for its descriptor (another thread's may have)"
            }
            Self::Unproven => "its objects are not laid out as expected",
            Self::Moved => "its objects changed while they were read",
            Self::TooMany => "too many sockets or too much memory to look through",
        }
    }
}

impl Heard {
    pub fn functions(&self) -> impl Iterator<Item = &Frame> {
        let events = match self {
            Self::By(listeners) => listeners.events.as_slice(),
            Self::Unknown(_) => &[],
        };
        events.iter().flat_map(|one| &one.functions)
    }
}

impl Listeners {
    pub fn of(&self, event: Event) -> &[Frame] {
        let found = self.events.iter().find(|one| one.event == event);
        found.map_or(&[], |one| one.functions.as_slice())
    }

    /// The events whose listeners handle what comes on this connection: its own, or where none but Node's listen to
    /// those, the server's that gave it to the program.
    pub fn handling(&self) -> Option<Event> {
        let has = |event: &Event| !self.of(*event).is_empty();
        let own = [Event::Data, Event::Readable];
        let of_server: &[Event] = if self.is_http {
            &[Event::Request]
        } else {
            &[Event::SecureConnection, Event::Connection]
        };
        own.into_iter()
            .find(has)
            .or_else(|| of_server.iter().copied().find(has))
    }

    /// This alone explains why nobody closes it after the end.
    pub fn nobody_hears_the_end(&self) -> bool {
        let known = !self.is_http && !self.is_below_tls;
        known && self.half_open == Some(true) && !self.end_is_heard
    }

    /// The program itself listens for the end, and keeps its own side open: for an answer, perhaps.
    pub fn answers_after_the_end(&self) -> bool {
        self.half_open == Some(true) && !self.of(Event::End).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Event::{Close, Connection, Data, Readable, Request};
    use super::*;

    #[test]
    fn the_connections_own_listeners_come_before_those_of_its_server() {
        let listener = |event| EventListeners {
            event,
            functions: vec![Frame::default()],
            more: false,
        };
        let of = |events: &[Event], is_http| Listeners {
            is_http,
            events: events.iter().copied().map(listener).collect(),
            ..Listeners::default()
        };
        let handling = |events: &[Event], is_http| of(events, is_http).handling();
        assert_eq!(handling(&[Connection, Data], false), Some(Data));
        assert_eq!(handling(&[Close, Readable], false), Some(Readable));
        assert_eq!(handling(&[Close, Connection], false), Some(Connection));
        // What was upgraded is the request handler's no more.
        assert_eq!(handling(&[Request], false), None);
        assert_eq!(handling(&[Request, Connection], true), Some(Request));
        assert_eq!(handling(&[Close], false), None);
    }

    #[test]
    fn only_what_was_looked_at_can_be_missing() {
        let half = Listeners {
            half_open: Some(true),
            ..Listeners::default()
        };
        assert!(half.nobody_hears_the_end());
        for other in [
            Listeners {
                half_open: None,
                ..half.clone()
            },
            Listeners {
                end_is_heard: true,
                ..half.clone()
            },
            Listeners {
                is_http: true,
                ..half.clone()
            },
            Listeners {
                is_below_tls: true,
                ..half.clone()
            },
        ] {
            assert!(!other.nobody_hears_the_end(), "{other:?}");
        }
    }
}
