//! Who listens to the sockets of a Node.js program: what crosses from the helper, and its bounds.

use serde::{Deserialize, Serialize};

use super::message::are_plausible;
use super::{StackCopy, Symbolizer};
use crate::model::input::ProcessKey;
use crate::model::listeners::Heard;

/// Sockets of a process that are asked for at once.
pub const MAX_ASKED: usize = 2048;
/// Events of a socket and its server, and listeners of one.
const MAX_EVENTS: usize = 16;
const MAX_LISTENERS: usize = 64;

/// Of each socket that was asked for, in that order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening(pub Vec<Heard>);

impl Listening {
    pub(super) fn is_plausible(&self) -> bool {
        let is_plausible = |heard: &Heard| match heard {
            Heard::Unknown(_) => true,
            Heard::By(listeners) => {
                listeners.events.len() <= MAX_EVENTS
                    && listeners.events.iter().all(|one| {
                        one.functions.len() <= MAX_LISTENERS && are_plausible(&one.functions)
                    })
            }
        };
        self.0.len() <= MAX_ASKED && self.0.iter().all(is_plausible)
    }
}

impl Symbolizer {
    /// Who listens to the sockets with these descriptors; `None` when it is no program for Node.js, or is not to be read.
    pub fn listeners(&mut self, process: ProcessKey, descriptors: &[i32]) -> Option<Vec<Heard>> {
        let asked = descriptors.get(..MAX_ASKED).unwrap_or(descriptors);
        self.prepare(&StackCopy::of_nothing(process)).ok()?;
        let known = self.processes.get(&process.pid)?;
        let found = self.link.listeners(&known.process, asked).ok()??;
        (found.0.len() == asked.len()).then_some(found.0)
    }
}
