//! What a goroutine that waits for others waits for in the end: those that it has started, what they wait in, and where
//! that is one place for nearly all of them. Who is not known to have been started by it is left out.

use foldhash::{HashMap, HashSet};

use super::{ReportContext, waits::WaitsFor};
use crate::{
    model::{
        actor::{Actor, Goroutine},
        input::Thread,
        stack::Step,
    },
    track::Tracker,
};

/// Those that were started by one that was started, and so on.
const MAX_DEPTH: usize = 4;
const MAX_LOOKED_AT: usize = 1024;

/// Where the others wait.
#[derive(Clone, Copy, Debug)]
pub struct Behind<'a> {
    /// One of them.
    pub thread: &'a Thread,
    pub waits: WaitsFor<'a>,
    /// How many wait there, and how many there are.
    pub here: usize,
    pub all: usize,
    /// It is known that this very goroutine has started them, and not another one at the same place.
    pub own: bool,
}

/// Goroutines by what has started them.
#[derive(Default)]
pub struct Started<'a> {
    by: HashMap<Actor, Vec<&'a Thread>>,
    /// Where that is not known: by process and the function that did.
    at: HashMap<(u32, &'a str), Vec<&'a Thread>>,
}

impl<'a> Started<'a> {
    pub(super) fn new(tracker: &'a Tracker) -> Self {
        let mut started = Self::default();
        for pid in tracker.threaded() {
            for thread in tracker.threads(pid) {
                let Some(created) = &thread.created else {
                    continue;
                };
                let function = created
                    .at
                    .last()
                    .and_then(|frame| frame.function.as_deref());
                match (created.by, function) {
                    (Some(id), _) => {
                        let by = Actor::Goroutine(Goroutine { pid, id });
                        started.by.entry(by).or_default().push(thread);
                    }
                    (None, Some(function)) => {
                        let at = started.at.entry((pid, function)).or_default();
                        at.push(thread);
                    }
                    (None, None) => {}
                }
            }
        }
        started
    }

    /// By this one, and those that at least were in a function in which it is.
    fn of(&self, thread: &Thread, pid: u32) -> (Vec<&'a Thread>, bool) {
        if let Some(own) = self.by.get(&thread.actor()) {
            return (own.clone(), true);
        }
        let names = thread
            .stack
            .iter()
            .filter_map(|frame| frame.function.as_deref());
        let at = names.filter_map(|name| self.at.get(&(pid, name)));
        (at.flatten().copied().collect(), false)
    }
}

impl<'a> ReportContext<'a> {
    /// `None` where it does not wait for others, has started none, or these wait in different places.
    pub fn behind(&self, thread: &'a Thread) -> Option<Behind<'a>> {
        let pid = thread.goroutine?.pid;
        let mut own = true;
        let mut seen = HashSet::from_iter([thread.actor()]);
        let (mut front, mut last) = (vec![thread], Vec::new());
        for depth in 0..=MAX_DEPTH {
            for one in std::mem::take(&mut front) {
                let waits = self.waits.of(one);
                if !waits_for_others(waits) || depth == MAX_DEPTH {
                    last.push(one);
                    continue;
                }
                let (started, sure) = self.started.of(one, pid);
                let before = front.len();
                for other in started {
                    if seen.len() < MAX_LOOKED_AT && seen.insert(other.actor()) {
                        own &= sure;
                        front.push(other);
                    }
                }
                // Whoever only tells somebody else when others are done is not waited for itself.
                if front.len() == before && !matches!(waits, WaitsFor::Group) {
                    last.push(one);
                }
            }
        }
        last.retain(|one| one.actor() != thread.actor());
        let (here, place) = self.most(&last)?;
        Some(Behind {
            thread: place,
            waits: self.waits.of(place),
            here,
            all: last.len(),
            own,
        })
    }

    /// Where at least three of four wait, in code of the program.
    fn most(&self, threads: &[&'a Thread]) -> Option<(usize, &'a Thread)> {
        let mut places: HashMap<Step<'a>, (usize, &'a Thread)> = HashMap::default();
        for thread in threads {
            if let Some(own) = self.blame(&thread.stack)
                && let Some(frame) = thread.stack.get(own)
            {
                places.entry(frame.step()).or_insert((0, *thread)).0 += 1;
            }
        }
        let most = places.into_values().max_by_key(|(here, _)| *here);
        most.filter(|(here, _)| here * 4 >= threads.len() * 3)
    }
}

/// Another goroutine may be what ends it.
const fn waits_for_others(waits: WaitsFor<'_>) -> bool {
    matches!(
        waits,
        WaitsFor::FromChannel | WaitsFor::Channels | WaitsFor::Group | WaitsFor::Condition
    )
}
