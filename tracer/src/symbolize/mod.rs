//! Names the code that a copied stack was executing: registers and stack bytes in, frames out.
//! Requests and answers are plain data and nothing is shared with other modules, so that all of it
//! can run in a separate process without privileges. What cannot be known is left out and said.

mod code;
mod demangle;
mod frames;
mod go;
mod image;
mod images;
mod jit;
mod maps;
mod names;
mod open;
mod process;
mod registers;
mod request;
#[cfg(target_arch = "x86_64")]
mod search;
mod shadow;
#[cfg(target_arch = "x86_64")]
mod signal;
mod tables;
mod unwind;
mod warning;

pub mod blame;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use crate::model::stack::{Frame, Stack};
use frames::Naming;
use images::Images;
use maps::Start;
use process::Process;
use unwind::Walk;

pub use request::{Evicted, Resolved, StackCopy};
pub use warning::Warning;

/// Processes whose code is remembered; each keeps 10-30 KiB beside the shared images.
const MAX_PROCESSES: usize = 512;
/// A list of mappings is used unasked for this long. Older, it is compared with the kernel's: code
/// may have been loaded in place of other code, and exec does not change a process's start time.
const TRUST: Duration = Duration::from_secs(1);
/// An address in no known mapping asks for a new list, but not more often than this.
const REFRESH: Duration = Duration::from_millis(10);

struct Remembered {
    process: Process,
    used: u64,
}

/// Unwinds and names. Not `Send`: parsed debug information is shared by reference counts.
#[derive(Default)]
pub struct Symbolizer {
    processes: HashMap<u32, Remembered>,
    images: Images,
    jit: jit::Lists,
    clock: u64,
    evicted_processes: u64,
}

impl Symbolizer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads and remembers what a process has mapped, so that its stacks can be named after it is
    /// gone. Files not seen before are opened and their unwind tables read; symbols are not.
    pub fn warm(&mut self, pid: u32) {
        // What cannot be read is remembered with the rest, and told when a stack leads there.
        let _ = self.look(pid);
    }

    /// The process executed another program or ended: its addresses mean nothing any more.
    pub fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    pub fn evicted(&self) -> Evicted {
        Evicted {
            processes: self.evicted_processes,
            images: self.images.evicted,
            names: self.images.evicted_names,
        }
    }

    pub fn resolve(&mut self, copy: &StackCopy<'_>) -> Resolved {
        let mut warnings = Vec::new();
        if let Err(warning) = self.prepare(copy) {
            warnings.push(warning);
            return Resolved {
                stack: only_address(copy.pc),
                warnings,
            };
        }
        let mut walk = self.walk(copy);
        if walk.left_known_code && self.refresh(copy) {
            walk = self.walk(copy);
        }
        if walk.addresses.is_empty() {
            return Resolved {
                stack: only_address(copy.pc),
                warnings,
            };
        }
        let Self {
            processes,
            images,
            jit,
            ..
        } = self;
        let mut frames = Vec::new();
        if let Some(known) = processes.get(&copy.pid) {
            if walk.left_known_code && known.process.omitted {
                warnings.push(maps::too_many(copy.pid));
            }
            let mut naming = Naming {
                pid: copy.pid,
                start: known.process.start,
                jit,
                code: known.process.walker.code(),
                images,
                warnings: &mut warnings,
            };
            frames = naming.frames(&walk);
        }
        Resolved {
            stack: Stack {
                frames,
                truncated: walk.truncated,
            },
            warnings,
        }
    }

    /// Makes sure that the remembered code is that of the process the copy was taken from.
    fn prepare(&mut self, copy: &StackCopy<'_>) -> Result<(), Warning> {
        let pid = copy.pid;
        let wanted = Start::from_boot_ns(copy.start_boot_ns);
        let matches =
            |known: &Remembered| wanted.is_none_or(|start| known.process.start.same(start));
        let remembered = self.processes.get(&pid).filter(|known| matches(known));
        let fresh = remembered.is_some_and(|known| known.process.checked.elapsed() < TRUST);
        if fresh && wanted.is_some() {
            return Ok(());
        }
        let usable = remembered.is_some();
        let Some(live) = maps::started(pid) else {
            return if usable {
                Ok(())
            } else {
                Err(Warning::ProcessGone { pid })
            };
        };
        if wanted.is_some_and(|start| !start.same(live)) {
            return if usable {
                Ok(())
            } else {
                Err(Warning::PidReused { pid })
            };
        }
        if fresh && remembered.is_some_and(|known| known.process.start == live) {
            return Ok(());
        }
        match self.look(pid) {
            Ok(()) if self.processes.get(&pid).is_some_and(matches) => Ok(()),
            Ok(()) => Err(Warning::PidReused { pid }),
            Err(_) if usable && self.processes.contains_key(&pid) => Ok(()),
            Err(warning) => Err(warning),
        }
    }

    /// Asks for the mappings again when they may have changed; true when a new walk makes sense.
    fn refresh(&mut self, copy: &StackCopy<'_>) -> bool {
        let old = self.processes.get(&copy.pid);
        let due = old.is_some_and(|known| known.process.checked.elapsed() >= REFRESH);
        let start = old.map(|known| known.process.start);
        due && start.is_some() && maps::started(copy.pid) == start && self.look(copy.pid).is_ok()
    }

    fn look(&mut self, pid: u32) -> Result<(), Warning> {
        self.clock += 1;
        let old = self.processes.remove(&pid);
        let old_use = old.as_ref().map_or(self.clock, |known| known.used);
        let old = old.map(|known| known.process);
        let (process, used, result) = match Process::look(pid, old, &mut self.images) {
            Ok(process) => (Some(process), self.clock, Ok(())),
            Err(failure) => (failure.1, old_use, Err(failure.0)),
        };
        if let Some(process) = process {
            self.processes.insert(pid, Remembered { process, used });
        }
        while self.processes.len() > MAX_PROCESSES {
            let oldest = self.processes.iter().min_by_key(|(_, known)| known.used);
            let Some(pid) = oldest.map(|(pid, _)| *pid) else {
                break;
            };
            self.processes.remove(&pid);
            self.evicted_processes += 1;
        }
        result
    }

    fn walk(&mut self, copy: &StackCopy<'_>) -> Walk {
        self.clock += 1;
        let Some(known) = self.processes.get_mut(&copy.pid) else {
            return Walk::unknown();
        };
        known.used = self.clock;
        known.process.walker.walk(copy)
    }
}

/// All that can be said without the process: an address that no module explains.
fn only_address(pc: u64) -> Stack {
    Stack {
        frames: vec![Frame {
            offset: pc,
            ..Frame::default()
        }],
        truncated: true,
    }
}
