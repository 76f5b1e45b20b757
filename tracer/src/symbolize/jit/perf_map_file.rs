//! The tracer's side of the lists that runtimes write: finds and opens them, and notices when one has
//! grown. Does not read them.

use std::collections::HashMap;
use std::fs::File;
use std::time::{Duration, Instant};

use super::file::{self, Version};
use crate::symbolize::maps::{self, Backing, Start};
use crate::symbolize::process::Process;
use crate::symbolize::warning::Warning;

/// Lists open here, and in the memory of the helper, at a time.
pub(in crate::symbolize) const MAX_LISTS: usize = 8;
/// A list that goes on growing is not read again more often than this.
const REFRESH: Duration = Duration::from_secs(1);

/// A list as it was at one moment.
pub(in crate::symbolize) struct PerfMapFile {
    /// Another one whenever the list has changed; never 0.
    pub number: u64,
    pub file: File,
    version: Version,
}

struct Known {
    start: Start,
    perf_map_file: Option<PerfMapFile>,
    refused: Option<Warning>,
    checked: Instant,
    used: u64,
}

/// The lists of the processes whose stacks were named last.
#[derive(Default)]
pub(in crate::symbolize) struct PerfMapFiles {
    known: HashMap<u32, Known>,
    clock: u64,
}

impl PerfMapFiles {
    /// The list of this process, if it has code that no file holds and a list that can be believed.
    pub(in crate::symbolize) fn perf_map_file(
        &mut self,
        process: &Process,
    ) -> Option<&PerfMapFile> {
        let made = |(mapping, _): &(maps::Mapping, _)| mapping.backing == Backing::Anonymous;
        if !process.code.iter().any(made) {
            return None;
        }
        self.clock += 1;
        let (pid, start) = (process.pid, process.start);
        let due = self
            .known
            .get(&pid)
            .is_none_or(|known| !known.start.same(start) || known.checked.elapsed() >= REFRESH);
        if due {
            self.look(pid, start);
        }
        let known = self.known.get_mut(&pid)?;
        if !known.start.same(start) {
            return None;
        }
        known.used = self.clock;
        known.perf_map_file.as_ref()
    }

    /// Why a list that is there is not believed.
    pub(in crate::symbolize) fn refused(&self, pid: u32) -> Option<&Warning> {
        self.known.get(&pid)?.refused.as_ref()
    }

    /// Opens the list again if it changed. What was opened stays usable when the process is gone.
    fn look(&mut self, pid: u32, start: Start) {
        let lives = || maps::started(pid).is_some_and(|live| live.same(start));
        if !lives() {
            return;
        }
        let opened = file::open(pid, start);
        // Between the two looks the file belonged to the process that was meant.
        if !lives() {
            return;
        }
        let old = self.known.remove(&pid);
        let old = old.filter(|known| known.start.same(start));
        let old = old.and_then(|known| known.perf_map_file);
        let (perf_map_file, refused) = match opened {
            Ok(None) => (None, None),
            Ok(Some(opened)) => match old {
                Some(old) if old.version == opened.version => (Some(old), None),
                _ => {
                    let perf_map_file = PerfMapFile {
                        number: self.clock,
                        file: opened.file,
                        version: opened.version,
                    };
                    (Some(perf_map_file), None)
                }
            },
            Err(reason) => {
                let reason = reason.to_owned();
                (None, Some(Warning::JitListRefused { pid, reason }))
            }
        };
        self.make_room();
        let known = Known {
            start,
            perf_map_file,
            refused,
            checked: Instant::now(),
            used: self.clock,
        };
        self.known.insert(pid, known);
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
