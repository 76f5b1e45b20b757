//! Names the code that a copied stack was executing: registers and stack bytes in, frames out.
//! Requests and answers are plain data and nothing is shared with other modules, so that all of it
//! can run in a separate process without privileges. What cannot be known is left out and said.

mod demangle;
mod image;
mod images;
mod maps;
mod names;
mod open;
mod process;
mod shadow;
mod unwind;
mod warning;

pub mod blame;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::stack::{Frame, Stack};
use images::Images;
use maps::Start;
use names::{Place, Problem};
use process::Process;
use unwind::{Code, CodeAddress};

pub use warning::Warning;

/// Processes whose code is remembered; each keeps 10-30 KiB beside the shared images.
const MAX_PROCESSES: usize = 512;
/// A list of mappings is used unasked for this long. Older, it is compared with the kernel's: code
/// may have been loaded in place of other code, and exec does not change a process's start time.
const TRUST: Duration = Duration::from_secs(1);
/// An address in no known mapping asks for a new list, but not more often than this.
const REFRESH: Duration = Duration::from_millis(10);

/// Registers and stack bytes as copied by the kernel hook.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    /// Thread group id.
    pub pid: u32,
    /// Start of the process in nanoseconds of `CLOCK_BOOTTIME`; 0 when unknown.
    pub start_boot_ns: u64,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    /// Return address register; 0 on machines without one.
    pub lr: u64,
    /// Memory from `sp` upwards.
    pub bytes: &'a [u8],
}

/// A named stack. [`Frame::offset`] is the frame's address as the ELF file has it (the value
/// `objdump` and `addr2line` use): the program counter in the innermost frame, the return address
/// itself in the others, although those are looked up one byte earlier. Inlined frames carry the
/// offset of the frame they were inlined into. Code of a file that could not be read has its
/// offset in the file, code of no file (`[anon]`, or no module) its run-time address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    pub stack: Stack,
    pub warnings: Vec<Warning>,
}

struct Remembered {
    process: Process,
    used: u64,
}

/// Unwinds and names. Not `Send`: parsed debug information is shared by reference counts.
#[derive(Default)]
pub struct Symbolizer {
    processes: HashMap<u32, Remembered>,
    images: Images,
    clock: u64,
}

impl Symbolizer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads and remembers what a process has mapped, so that its stacks can be named after it is
    /// gone. Files not seen before are opened and their unwind tables read; symbols are not.
    pub fn warm(&mut self, pid: u32) {
        let mut unreported = Vec::new();
        // What is missing is told again when a stack needs it.
        let _ = self.look(pid, &mut unreported);
    }

    /// The process executed another program or ended: its addresses mean nothing any more.
    pub fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    pub fn resolve(&mut self, copy: &StackCopy<'_>) -> Resolved {
        let mut warnings = Vec::new();
        if let Err(warning) = self.prepare(copy, &mut warnings) {
            warnings.push(warning);
            return Resolved {
                stack: only_address(copy.pc),
                warnings,
            };
        }
        let (mut addresses, mut truncated, left) = self.walk(copy);
        if left && self.refresh(copy, &mut warnings) {
            (addresses, truncated, _) = self.walk(copy);
        }
        if addresses.is_empty() {
            return Resolved {
                stack: only_address(copy.pc),
                warnings,
            };
        }
        let Self {
            processes, images, ..
        } = self;
        let mut frames = Vec::with_capacity(addresses.len() + 8);
        if let Some(known) = processes.get(&copy.pid) {
            for address in addresses {
                if let Some(code) = known.process.code.find(address.lookup) {
                    name(code, address, copy.pid, images, &mut frames, &mut warnings);
                }
            }
        }
        Resolved {
            stack: Stack { frames, truncated },
            warnings,
        }
    }

    /// Makes sure that the remembered code is that of the process the copy was taken from.
    fn prepare(&mut self, copy: &StackCopy<'_>, out: &mut Vec<Warning>) -> Result<(), Warning> {
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
        match self.look(pid, out) {
            Ok(()) if self.processes.get(&pid).is_some_and(matches) => Ok(()),
            Ok(()) => Err(Warning::PidReused { pid }),
            Err(_) if usable && self.processes.contains_key(&pid) => Ok(()),
            Err(warning) => Err(warning),
        }
    }

    /// Asks for the mappings again when they may have changed; true when a new walk makes sense.
    fn refresh(&mut self, copy: &StackCopy<'_>, out: &mut Vec<Warning>) -> bool {
        let old = self.processes.get(&copy.pid);
        let due = old.is_some_and(|known| known.process.checked.elapsed() >= REFRESH);
        let start = old.map(|known| known.process.start);
        due && start.is_some()
            && maps::started(copy.pid) == start
            && self.look(copy.pid, out).is_ok()
    }

    fn look(&mut self, pid: u32, out: &mut Vec<Warning>) -> Result<(), Warning> {
        self.clock += 1;
        let old = self.processes.remove(&pid);
        let old_use = old.as_ref().map_or(self.clock, |known| known.used);
        let old = old.map(|known| known.process);
        let (process, used, result) = match Process::look(pid, old, &mut self.images, out) {
            Ok(process) => (Some(process), self.clock, Ok(())),
            Err((warning, old)) => (old, old_use, Err(warning)),
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
        }
        result
    }

    fn walk(&mut self, copy: &StackCopy<'_>) -> (Vec<CodeAddress>, bool, bool) {
        self.clock += 1;
        let Some(known) = self.processes.get_mut(&copy.pid) else {
            return (Vec::new(), true, false);
        };
        known.used = self.clock;
        let walk = known.process.code.walk(copy);
        (walk.addresses, walk.truncated, walk.left_known_code)
    }
}

fn name(
    code: &Code,
    address: CodeAddress,
    pid: u32,
    images: &mut Images,
    frames: &mut Vec<Frame>,
    warnings: &mut Vec<Warning>,
) {
    let module = &code.mapping.name;
    let bare = Frame {
        module: Some(module.clone()),
        offset: address.at,
        ..Frame::default()
    };
    let (Some(image), Some(bias)) = (&code.image, code.bias) else {
        let in_file = address.at.wrapping_sub(code.mapping.range.start) + code.mapping.offset;
        let named = code.mapping.backing != maps::Backing::Anonymous;
        frames.push(Frame {
            offset: if named { in_file } else { address.at },
            ..bare
        });
        return;
    };
    let bare = Frame {
        offset: address.at.wrapping_sub(bias),
        build_id: image.build_id.clone(),
        ..bare
    };
    let names = images.names(image);
    let problem = names.problem.map(|problem| match problem {
        Problem::Replaced => Warning::FileReplaced {
            pid,
            module: module.clone(),
        },
        Problem::Unusable(reason) => Warning::SymbolsUnusable {
            module: module.clone(),
            reason: reason.to_owned(),
        },
    });
    if let Some(problem) = problem.filter(|problem| !warnings.contains(problem)) {
        warnings.push(problem);
    }
    let places = names.at(address.lookup.wrapping_sub(bias));
    if places.is_empty() {
        frames.push(bare);
        return;
    }
    frames.extend(places.iter().map(|place: &Place| Frame {
        function: place.function.clone(),
        file: place.file.clone(),
        line: place.line,
        inlined: place.inlined,
        ..bare.clone()
    }));
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
