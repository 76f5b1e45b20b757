//! Who closes what others have read. Connections that were opened at one place and closed in a function that a thread is
//! in now, kept from going on, may lie in that thread's queue.

use foldhash::{HashMap, HashSet};

use super::ReportContext;
use crate::model::{
    input::Thread,
    socket::LastOperation,
    stack::{Frame, Stack},
};

#[derive(Clone, Copy, Debug)]
pub struct Closer<'a> {
    pub thread: &'a Thread,
    /// The function of the program in which it closes them.
    pub function: &'a Frame,
    /// So many of those that were opened at that place.
    pub closed: u64,
}

/// Places that are looked at for each place of opening.
const MAX_PLACES: usize = 8;

/// The program's functions on the stack of a place where connections were closed.
pub(super) type ClosedIn<'a> = HashSet<Name<'a>>;

/// Module, function, and of one without a name of its own also its line.
pub(super) type Name<'a> = (Option<&'a str>, Option<&'a str>, Option<u32>);

/// Ruby's blocks are called after where they are: several of one function have one name.
fn name(frame: &Frame) -> Name<'_> {
    let function = frame.function.as_deref();
    let is_block = function.is_some_and(|function| function.starts_with("block "));
    (
        frame.module.as_deref(),
        function,
        frame.line.filter(|_| is_block),
    )
}

impl<'a> ReportContext<'a> {
    /// Where those were closed that were opened at each place.
    pub(super) fn find_closed_in(&self) -> HashMap<u64, Vec<ClosedIn<'a>>> {
        let mut places: HashMap<u64, Vec<ClosedIn<'a>>> = HashMap::default();
        for counts in self.tracker.close_counts() {
            let known = places.entry(self.call_site_of(counts.opened)).or_default();
            let place = self
                .tracker
                .stack(counts.closed)
                .filter(|_| known.len() < MAX_PLACES);
            known.extend(place.and_then(|stack| self.closed_in(stack)));
        }
        places
    }

    fn closed_in(&self, stack: &'a Stack) -> Option<ClosedIn<'a>> {
        let own = stack.frames.iter().filter(|frame| self.is_own(frame));
        let own: ClosedIn<'a> = own.map(name).collect();
        (!own.is_empty()).then_some(own)
    }

    /// Others that were opened like this one were closed by none of the program's functions that made the operation: who used
    /// them did not close them.
    pub fn are_closed_elsewhere(&self, opened: LastOperation, last: LastOperation) -> bool {
        let call_site = self.call_site_of(opened.stack);
        let key = (call_site, last.stack);
        if let Some(known) = self.closed_elsewhere.borrow().get(&key) {
            return *known;
        }
        let places = self.closed_in.get(&call_site).into_iter().flatten();
        let by = self.tracker.stack(last.stack).map(|by| &by.frames);
        let elsewhere = by.filter(|by| !by.is_empty()).is_some_and(|by| {
            let mut places = places;
            places.any(|own| by.iter().all(|frame| !own.contains(&name(frame))))
        });
        self.closed_elsewhere.borrow_mut().insert(key, elsewhere);
        elsewhere
    }

    /// By the place where what they close was opened: the one that has closed most.
    pub(super) fn find_closers(&self) -> HashMap<u64, Closer<'a>> {
        let mut closers: HashMap<u64, Closer<'a>> = HashMap::default();
        for counts in self.tracker.close_counts() {
            let closed_in = self.tracker.stack(counts.closed);
            let Some(closer) = closed_in.and_then(|stack| self.closer(stack, counts.count)) else {
                continue;
            };
            let known = closers
                .entry(self.call_site_of(counts.opened))
                .or_insert(closer);
            if known.closed < closer.closed {
                *known = closer;
            }
        }
        closers
    }

    fn closer(&self, closed_in: &'a Stack, closed: u64) -> Option<Closer<'a>> {
        let function = closed_in.frames.get(self.blame(&closed_in.frames)?)?;
        let mut threads = self.tracker.threads(closed_in.pid?).iter();
        let thread = threads.find(|thread| {
            self.waits.of(thread).may_be_of_work()
                && !self.is_idle(thread)
                && has(&thread.stack, function)
        })?;
        Some(Closer {
            thread,
            function,
            closed,
        })
    }

    /// Who closes those that were opened like this one, and is kept from it now: not the kind of thread that made the
    /// operation, nor in a function of that.
    pub fn closer_of(&self, opened: LastOperation, last: LastOperation) -> Option<Closer<'a>> {
        let closer = *self.closers.get(&self.call_site_of(opened.stack))?;
        let by = self.tracker.stack(last.stack)?;
        let other = self.threads.seen(last.actor());
        let is_alike = other.is_some_and(|other| self.kind(other) == self.kind(closer.thread));
        let is_another = closer.thread.actor() != last.actor();
        (is_another && !is_alike && !has(&by.frames, closer.function)).then_some(closer)
    }
}

fn has(frames: &[Frame], function: &Frame) -> bool {
    frames.iter().any(|frame| frame.is_same_code(function))
}
