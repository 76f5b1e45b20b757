//! Threads that sit in one place: do all of them have a connection of their own, or is it where free ones wait?

use foldhash::{HashMap, HashSet};

use super::{ReportContext, threads::Touch};
use crate::model::{actor::Actor, input::Thread};

/// Of the threads with one and the same stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    pub threads: usize,
    /// Those that have touched no living client.
    pub free: usize,
    /// Those that began when the only client they have touched was there already.
    pub began_for: usize,
    /// One of them has left an older stuck connection behind at the place where it touched a later one.
    pub left_behind: bool,
}

impl Crowd {
    /// Each thread here was started for a connection of its own. A free one would have taken the next connection, and no
    /// thread would have been started for that: none of them is free.
    pub fn is_one_each(self) -> bool {
        self.threads >= 3 && self.began_for == self.threads && !self.left_behind
    }
}

#[derive(Default)]
pub struct Places {
    crowds: Vec<Crowd>,
    by_thread: HashMap<Actor, usize>,
}

impl Places {
    pub fn of(&self, thread: &Thread) -> Crowd {
        let place = self.by_thread.get(&thread.actor());
        let crowd = place.and_then(|place| self.crowds.get(*place));
        crowd.copied().unwrap_or_default()
    }
}

/// Process, and module and offset of every frame.
type Place<'a> = (u32, Vec<(Option<&'a str>, Option<&'a str>, u64)>);

impl ReportContext<'_> {
    pub(super) fn find_places(&self) -> Places {
        let mut places = Places::default();
        let mut known: HashMap<Place<'_>, usize> = HashMap::default();
        for pid in self.tracker.threaded() {
            for thread in self.tracker.threads(pid) {
                if thread.stack.is_empty() {
                    continue;
                }
                let frames = thread.stack.iter().map(|frame| {
                    let function = frame.function.as_deref();
                    // What is sampled is in many places of one function.
                    let offset = match thread.sampled {
                        Some(_) => 0,
                        None => frame.offset,
                    };
                    (frame.module.as_deref(), function, offset)
                });
                let next = places.crowds.len();
                let place = *known.entry((pid, frames.collect())).or_insert(next);
                if place == next {
                    places.crowds.push(Crowd::default());
                }
                places.by_thread.insert(thread.actor(), place);
                if let Some(crowd) = places.crowds.get_mut(place) {
                    crowd.threads += 1;
                    crowd.free += usize::from(!self.has_a_client(thread.actor()));
                    crowd.began_for += usize::from(self.has_begun_for_one(thread));
                    crowd.left_behind |= self.has_left_behind(thread.actor());
                }
            }
        }
        places
    }

    fn has_a_client(&self, actor: Actor) -> bool {
        let mut touches = self.threads.touches(actor).iter();
        touches.any(|touch| !self.threads.is_connected(touch.cookie))
    }

    fn has_begun_for_one(&self, thread: &Thread) -> bool {
        let touches = self.threads.touches(thread.actor());
        let client = touches
            .iter()
            .find(|touch| !self.threads.is_connected(touch.cookie));
        client.is_some_and(|touch| self.began_for(touch.cookie, thread))
    }

    fn has_left_behind(&self, actor: Actor) -> bool {
        let last = self.stuck_last.get(&actor).map_or(&[][..], Vec::as_slice);
        let mut seen = HashSet::default();
        !last
            .iter()
            .all(|touch: &Touch<'_>| seen.insert(self.last_place_of(touch.operation.stack)))
    }

    /// One number for all keys with the same frames.
    pub(super) fn last_place_of(&self, stack: u64) -> u64 {
        self.last_places.get(&stack).copied().unwrap_or(stack)
    }
}
