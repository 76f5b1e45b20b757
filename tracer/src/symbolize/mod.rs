//! Names the code that a copied stack was executing: registers and stack bytes in, frames out.
//! Here, with the tracer's privileges, processes are looked at and files opened; a helper process without any
//! reads those files. What cannot be known is said.

#[cfg(target_arch = "x86_64")]
mod calls;
mod carried;
mod code;
mod degraded;
mod demangle;
mod files;
mod frames;
mod go;
mod goroutines;
mod helper;
mod image;
mod images;
mod jit;
mod link;
mod listeners;
mod maps;
mod message;
mod names;
mod open;
mod process;
pub mod program_end;
mod programs;
mod recall;
mod registers;
mod remote;
mod request;
mod row;
mod runtimes;
#[cfg(target_arch = "x86_64")]
mod search;
mod shadow;
#[cfg(target_arch = "x86_64")]
mod signal;
mod started_as;
mod symbols;
mod tables;
mod tasks;
mod told;
mod unwind;
mod walker;
mod warning;

pub mod blame;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::{ops::Range, path::PathBuf, time::Duration};

use crate::confine::process::OWN_PROGRAM;
use crate::model::runtime::Runtimes;
use crate::model::stack::Stack;
use carried::Carried;
use files::Files;
use link::Link;
use maps::Start;
use message::Named;
use process::{Process, Source};
use told::Told;

pub use goroutines::{Goroutine, Goroutines, Running};
pub use helper::serve_if_asked;
pub use listeners::MAX_ASKED;
pub use request::{
    AddressRule, Evicted, Function, Functions, Noted, Resolved, RuntimeOf, StackCopy,
};
pub use tasks::{SuspendedTask, Tasks};
pub use walker::Walker;
pub use warning::Warning;

/// Processes whose code is remembered; each keeps 10-30 KiB beside the shared files.
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

/// Looks at processes, and has their stacks unwound and named.
pub struct Symbolizer {
    processes: HashMap<u32, Remembered>,
    files: Files,
    jit: jit::PerfMapFiles,
    link: Link,
    clock: u64,
    evicted_processes: u64,
    replaced: Vec<(u32, Vec<Range<u64>>)>,
    told: Told,
    carried: Carried,
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Symbolizer {
    /// The helper is this program again, also when its file was replaced.
    pub fn new() -> Self {
        Self::with_program(OWN_PROGRAM.into())
    }

    /// With another program that calls [`serve_if_asked`] first of all.
    pub fn with_program(program: PathBuf) -> Self {
        Self::with_link(Link::to_program(program))
    }

    fn with_link(link: Link) -> Self {
        Self {
            processes: HashMap::new(),
            files: Files::default(),
            jit: jit::PerfMapFiles::default(),
            link,
            clock: 0,
            evicted_processes: 0,
            replaced: Vec::new(),
            told: Told::default(),
            carried: Carried::default(),
        }
    }

    /// Of language runtimes, only these are read.
    #[must_use]
    pub fn reading(mut self, runtimes: Runtimes) -> Self {
        self.link.runtimes = runtimes;
        self
    }

    /// Reads and remembers what a process has mapped, so that its stacks can be named after it is
    /// gone. Files not seen before are opened, and read when a stack leads there.
    pub fn warm(&mut self, pid: u32) {
        // What cannot be read is remembered with the rest, and told when a stack leads there.
        let _ = self.look(pid);
    }

    /// Where processes had other code than they have now, since this was last asked.
    pub fn take_replaced(&mut self) -> Vec<(u32, Vec<Range<u64>>)> {
        std::mem::take(&mut self.replaced)
    }

    /// The process executed another program or ended: its addresses mean nothing any more.
    pub fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
        self.link.forget(pid);
    }

    pub fn evicted(&self) -> Evicted {
        Evicted {
            processes: self.evicted_processes,
            images: self.files.evicted,
            names: self.link.evicted_names(),
        }
    }

    pub fn remembered(&self) -> [(&'static str, usize); 4] {
        [
            ("processes_with_code", self.processes.len()),
            ("program_files", self.files.len()),
            ("told_processes", self.told.lives.len()),
            ("carried_rows", self.carried.places()),
        ]
    }

    /// How often the helper has ended and had to be started again.
    pub fn helper_failures(&self) -> u64 {
        self.link.failures()
    }

    /// What the helpers that run now have used of CPUs.
    pub fn spent(&self) -> Duration {
        self.link.spent()
    }

    /// Of the helper, once there was something to name.
    pub fn helper(&self) -> Option<u32> {
        self.link.helper()
    }

    /// Takes as long as the helper may, some seconds at worst.
    pub fn resolve(&mut self, copy: &StackCopy<'_>) -> Resolved {
        if let Err(warning) = self.prepare(copy) {
            return Resolved {
                stack: degraded::only_address(copy.pc),
                functions: None,
                warnings: vec![warning],
                failed: false,
            };
        }
        let mut answer = self.ask(copy);
        if answer.as_ref().is_ok_and(|named| named.left_known_code) && self.refresh(copy) {
            answer = self.ask(copy);
        }
        let mut resolved = match answer {
            Ok(named) => self.complete(named, copy),
            Err(warning) => Resolved {
                stack: self.innermost(copy),
                functions: None,
                failed: warning.is_passing(),
                warnings: vec![warning],
            },
        };
        resolved.warnings.extend(self.link.take_warnings());
        resolved
    }

    /// How the kernel program is to leave each frame of the stack, innermost first; nothing when that is not known now.
    pub fn rules(&mut self, copy: &StackCopy<'_>) -> Vec<AddressRule> {
        if self.prepare(copy).is_err() {
            return Vec::new();
        }
        let mut answer = self.ask_rules(copy);
        if answer.as_ref().is_some_and(|rules| rules.left_known_code) && self.refresh(copy) {
            answer = self.ask_rules(copy);
        }
        let rules = answer.map(|answer| answer.of_frames).unwrap_or_default();
        self.carry_rules(copy.pid, &rules);
        rules
    }

    /// What the noted functions are called. To be asked at once: later other code may lie there.
    pub fn functions(&mut self, copy: &StackCopy<'_>) -> Option<Functions> {
        self.prepare(copy).ok()?;
        self.learn_user(copy.pid);
        let process = &self.processes.get(&copy.pid)?.process;
        self.link.functions(process, copy).ok()?
    }

    fn ask_rules(&mut self, copy: &StackCopy<'_>) -> Option<message::Rules> {
        self.clock += 1;
        self.learn_user(copy.pid);
        let known = self.processes.get_mut(&copy.pid)?;
        known.used = self.clock;
        self.link.rules(&known.process, copy).ok()
    }

    fn ask(&mut self, copy: &StackCopy<'_>) -> Result<Named, Warning> {
        self.clock += 1;
        let pid = copy.pid;
        let known = self.processes.get_mut(&pid);
        let known = known.ok_or(Warning::ProcessGone { pid })?;
        known.used = self.clock;
        if let Some(user) = maps::user(pid) {
            known.process.user = user;
        }
        let perf_map_file = self.jit.perf_map_file(&known.process);
        self.link.name(&known.process, perf_map_file, copy)
    }

    fn complete(&self, named: Named, copy: &StackCopy<'_>) -> Resolved {
        let mut resolved = named.resolved;
        resolved.failed = false;
        let known = self.processes.get(&copy.pid);
        let omitted = known.is_some_and(|known| known.process.omitted);
        if resolved.stack.frames.is_empty() {
            resolved.stack = degraded::only_address(copy.pc);
        } else if named.left_known_code && omitted {
            resolved.warnings.insert(0, maps::too_many(copy.pid));
        }
        if let Some(known) = known {
            identify(&mut resolved.stack, &known.process);
        }
        if let Some(refused) = self.jit.refused(copy.pid)
            && resolved.stack.frames.iter().any(jit::is_unnamed)
        {
            resolved.warnings.push(refused.clone());
        }
        resolved
    }

    fn innermost(&self, copy: &StackCopy<'_>) -> Stack {
        match self.processes.get(&copy.pid) {
            Some(known) => degraded::innermost(&known.process, copy.pc),
            None => degraded::only_address(copy.pc),
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

    /// Asks for the mappings again when they may have changed; true when they have.
    fn refresh(&mut self, copy: &StackCopy<'_>) -> bool {
        let version = |known: &Self| {
            known
                .processes
                .get(&copy.pid)
                .map(|old| old.process.version)
        };
        let old = self.processes.get(&copy.pid);
        let due = old.is_some_and(|known| known.process.checked.elapsed() >= REFRESH);
        let start = old.map(|known| known.process.start);
        let before = version(self);
        due && start.is_some()
            && maps::started(copy.pid) == start
            && self.look(copy.pid).is_ok()
            && version(self) != before
    }

    fn look(&mut self, pid: u32) -> Result<(), Warning> {
        self.clock += 1;
        let old = self.processes.remove(&pid);
        let old_use = old.as_ref().map_or(self.clock, |known| known.used);
        let old = old.map(|known| known.process);
        let mut dropped = Vec::new();
        let looked = Process::look(pid, old, self.clock, &mut self.files, &mut dropped);
        for key in dropped {
            self.link.drop_file(key);
        }
        let (process, used, result) = match looked {
            Ok(mut process) => {
                let replaced = std::mem::take(&mut process.replaced);
                if !replaced.is_empty() {
                    self.replaced.push((pid, replaced));
                }
                (Some(process), self.clock, Ok(()))
            }
            Err(failure) => (failure.1, old_use, Err(failure.0)),
        };
        if let Some(process) = process {
            self.processes.insert(pid, Remembered { process, used });
        }
        self.make_room();
        result
    }

    fn make_room(&mut self) {
        while self.processes.len() > MAX_PROCESSES {
            let oldest = self.processes.iter().min_by_key(|(_, known)| known.used);
            let Some(pid) = oldest.map(|(pid, _)| *pid) else {
                break;
            };
            self.forget(pid);
            self.evicted_processes += 1;
        }
    }
}

/// Of a file that is gone the kernel has told the build-id.
fn identify(stack: &mut Stack, process: &Process) {
    for frame in &mut stack.frames {
        let Some(module) = frame.module.as_deref().filter(|_| frame.build_id.is_none()) else {
            continue;
        };
        let told = process.code.iter().find_map(|(mapping, source)| {
            let gone = matches!(source, Source::Problem(_)) && mapping.name == module;
            mapping.build_id.as_ref().filter(|_| gone)
        });
        frame.build_id = told.cloned();
    }
}
