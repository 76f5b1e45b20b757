//! Names of code that exists only in memory, made by a language runtime while it runs. Nobody but
//! the runtime knows them: believes the list it may have written, says what is missing otherwise.

mod advice;
mod file;
mod list;
mod name;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::maps::{self, Start};
use super::warning::Warning;
use file::Version;
use list::List;

pub(super) use advice::missing;
pub(super) use name::Meaning;

/// Named code that a runtime made.
pub(super) const MODULE: &str = "[jit]";
/// The runtime's own stubs and builtins.
pub(super) const RUNTIME: &str = "[runtime]";
pub(super) const INTERPRETER: &str = "[interpreter]";

/// Lists in memory at a time; each can be as large as the file.
const MAX_LISTS: usize = 8;
/// A list that goes on growing is not read again more often than this.
const REFRESH: Duration = Duration::from_secs(1);

struct Known {
    start: Start,
    version: Option<Version>,
    list: List,
    checked: Instant,
    used: u64,
}

/// The lists of the processes whose stacks were named last.
#[derive(Default)]
pub(super) struct Lists {
    known: HashMap<u32, Known>,
    clock: u64,
}

impl Lists {
    /// What the runtime calls the code at this address.
    pub(super) fn find(
        &mut self,
        pid: u32,
        start: Start,
        address: u64,
    ) -> Result<Option<Meaning>, Warning> {
        self.clock += 1;
        let due = self
            .known
            .get(&pid)
            .is_none_or(|known| !known.start.same(start) || known.checked.elapsed() >= REFRESH);
        let refused = if due {
            self.look(pid, start).err()
        } else {
            None
        };
        let Some(known) = self
            .known
            .get_mut(&pid)
            .filter(|known| known.start.same(start))
        else {
            return refused.map_or(Ok(None), Err);
        };
        known.used = self.clock;
        match known.list.find(address) {
            Some(name) => Ok(Some(name::meaning(name))),
            None => refused.map_or(Ok(None), Err),
        }
    }

    /// Reads the list if it changed. What was read stays usable when the process is gone.
    fn look(&mut self, pid: u32, start: Start) -> Result<(), Warning> {
        let refused = |reason| Warning::JitListRefused { pid, reason };
        let refuse = |reason: &str| refused(reason.to_owned());
        if maps::started(pid).is_none_or(|live| !live.same(start)) {
            return Ok(());
        }
        let opened = file::open(pid, start);
        // Between the two looks the file belonged to the process that was meant.
        if maps::started(pid).is_none_or(|live| !live.same(start)) {
            return Ok(());
        }
        let old = self
            .known
            .remove(&pid)
            .filter(|known| known.start.same(start));
        let opened = opened.map_err(refuse)?;
        let version = opened.as_ref().map(|opened| opened.version);
        let list = match (old, opened) {
            (Some(old), _) if old.version == version => old.list,
            (_, Some(opened)) => List::parse(file::read(&opened.file).map_err(refuse)?),
            (_, None) => List::default(),
        };
        self.make_room();
        let known = Known {
            start,
            version,
            list,
            checked: Instant::now(),
            used: self.clock,
        };
        self.known.insert(pid, known);
        Ok(())
    }

    fn make_room(&mut self) {
        while self.known.len() >= MAX_LISTS {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.used);
            let Some(pid) = oldest.map(|(pid, _)| *pid) else {
                return;
            };
            self.known.remove(&pid);
        }
    }
}
