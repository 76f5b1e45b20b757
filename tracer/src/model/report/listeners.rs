//! Who listens to the sockets of a site, in a program for Node.js.

use serde::{Deserialize, Serialize};

use super::Blame;

/// As the program's own objects have it at the moment of the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listeners {
    pub allow_half_open: Option<bool>,
    /// Something besides the socket itself listens for 'end'; `None` when unknown.
    pub end_is_heard: Option<bool>,
    /// Those with listeners that are not Node's own.
    pub events: Vec<EventListeners>,
    /// The event whose listener is blamed, for none of the program's functions was on a stack.
    pub blamed: Option<String>,
    /// Why the rest is not known.
    pub unknown: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventListeners {
    pub event: String,
    pub of: Emitter,
    /// In the order in which they are called.
    pub functions: Vec<Blame>,
    /// There are more than these.
    pub more: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Emitter {
    Socket,
    /// That has accepted it.
    Server,
}
