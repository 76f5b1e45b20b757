//! Who listens to the sockets of a Node.js program: what crosses from the helper, and its bounds.

use serde::{Deserialize, Serialize};

use super::message::is_frame_plausible;
use super::{StackCopy, Symbolizer};
use crate::model::input::ProcessKey;
use crate::model::listeners::{Heard, WhyUnheard};

/// Sockets of a process that are looked at, and how many at once: each look has a bound on its time.
pub const MAX_ASKED: usize = 4096;
pub(super) const AT_ONCE: usize = 1024;
/// Different answers, and functions in all of them.
pub(super) const MAX_KINDS: usize = 512;
pub(super) const MAX_FUNCTIONS: usize = 2048;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// Each once, however many sockets have the same listeners.
    pub kinds: Vec<Heard>,
    /// Of each socket that was asked for, in that order, the place in that list.
    pub of: Vec<u32>,
}

impl Listening {
    /// Those beyond the bounds are unknown.
    pub(super) fn of(found: Vec<Heard>) -> Self {
        let mut listening = Self {
            kinds: vec![Heard::Unknown(WhyUnheard::TooMany)],
            of: Vec::new(),
        };
        let mut functions = 0;
        for heard in found {
            let known = listening.kinds.iter().position(|kind| *kind == heard);
            let number = known.unwrap_or_else(|| {
                functions += heard.functions().count();
                let number = listening.kinds.len();
                if number >= MAX_KINDS || functions > MAX_FUNCTIONS {
                    return 0;
                }
                listening.kinds.push(heard);
                number
            });
            listening.of.push(number as u32);
        }
        listening
    }

    pub(super) fn is_plausible(&self) -> bool {
        let functions: usize = self.kinds.iter().map(|kind| kind.functions().count()).sum();
        let in_list = |number: &u32| (*number as usize) < self.kinds.len();
        self.kinds.len() <= MAX_KINDS
            && functions <= MAX_FUNCTIONS
            && self.of.len() <= AT_ONCE
            && self.of.iter().all(in_list)
            && self
                .kinds
                .iter()
                .flat_map(Heard::functions)
                .all(is_frame_plausible)
    }
}

impl Symbolizer {
    /// Who listens to the sockets with these descriptors; `None` when it is no program for Node.js, or is not to be read.
    pub fn listeners(&mut self, process: ProcessKey, descriptors: &[i32]) -> Option<Vec<Heard>> {
        let asked = descriptors.get(..MAX_ASKED).unwrap_or(descriptors);
        self.prepare(&StackCopy::of_nothing(process)).ok()?;
        let known = self.processes.get(&process.pid)?;
        let mut told = Vec::new();
        for some in asked.chunks(AT_ONCE) {
            let found = self.link.listeners(&known.process, some).ok()??;
            if found.of.len() != some.len() {
                return None;
            }
            let heard = |number: &u32| found.kinds.get(*number as usize).cloned();
            told.extend(found.of.iter().filter_map(heard));
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::listeners::{Event, EventListeners, Listeners};
    use crate::model::stack::Frame;

    fn heard(line: u32, functions: usize) -> Heard {
        let frame = Frame {
            line: Some(line),
            ..Frame::default()
        };
        Heard::By(Listeners {
            events: vec![EventListeners {
                event: Event::Data,
                functions: vec![frame; functions],
                more: false,
            }],
            ..Listeners::default()
        })
    }

    #[test]
    fn what_many_sockets_share_crosses_once() {
        let listening = Listening::of(vec![heard(1, 1), heard(2, 1), heard(1, 1)]);
        assert_eq!((listening.kinds.len(), &*listening.of), (3, &[1, 2, 1][..]));
        assert!(listening.is_plausible());
    }

    #[test]
    fn what_would_be_too_large_an_answer_is_unknown() {
        let many = (0..1000).map(|line| heard(line, 3)).collect();
        let listening = Listening::of(many);
        assert!(listening.is_plausible());
        assert_eq!(listening.of.last(), Some(&0));
        let wide = Listening::of(vec![heard(1, MAX_FUNCTIONS + 1)]);
        assert!(wide.is_plausible());
        assert_eq!(wide.of, [0]);
    }
}
