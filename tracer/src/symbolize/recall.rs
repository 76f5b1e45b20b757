//! Processes that end before anybody can look at them, by what the kernel told of their code. A process's program is
//! opened when it begins; other files by their paths when a stack asks for them, and only if they are provably
//! what was mapped.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use rustix::fd::OwnedFd;

use super::files::{Files, Held};
use super::maps::{self, Backing, Mapping, Start};
use super::message::Key;
use super::open::{self, FileId, OpenError};
use super::process::{NO_USER, Process, Source};
use super::told::{Life, Program};
use super::warning::Warning;
use super::{Remembered, Symbolizer};
use crate::model::code_change::CodeChange;

/// A tree of processes that is followed from before its first instruction.
impl Symbolizer {
    /// Before anything of the tree is told. `root` waits.
    pub fn follow(&mut self, root: u32) {
        self.told.root = open::root_of(root).ok();
    }

    /// Takes in what happened, in the order of its time.
    pub fn take_in(&mut self, changes: Vec<CodeChange>) {
        for change in changes {
            self.told.apply(change);
        }
    }

    /// Something was not told: whoever lives now may have other code than what is known.
    pub fn forget_told(&mut self) {
        self.told.lives.clear();
    }

    /// What ended before then is not asked for any more.
    pub fn forget_ended(&mut self, before: u64) {
        let ended = |life: &Life| life.ended.is_some_and(|at| at < before);
        self.told.lives.retain(|_, life| !ended(life));
    }

    /// The process executes another program, started as `comm`: opens it, for it may be gone when it is asked for.
    pub fn begins_program(&mut self, pid: u32, comm: &str, now: u64) {
        let Some(life) = self.told.lives.get_mut(&pid) else {
            return;
        };
        life.program = open::program(pid).map(|(file, id, path)| {
            let is_plain = !comm.is_empty() && maps::module(&path).starts_with(comm);
            Rc::new(Program {
                file,
                id,
                path,
                opened: now,
                is_plain,
            })
        });
    }

    /// What the process executes, by what was told.
    pub fn program_of(&self, pid: u32) -> Option<&Path> {
        self.told.lives.get(&pid)?.path()
    }

    /// Remembers the code of the process that a stack was copied of then, whether or not it still lives.
    pub fn remember(&mut self, pid: u32, start_boot_ns: u64, at: u64) {
        let Some(start) = Start::from_boot_ns(start_boot_ns) else {
            let _ = self.look(pid);
            return;
        };
        let moment = self.told.life(pid, at).map(|life| life.moment(at));
        let known = self.processes.get(&pid).map(|known| &known.process);
        let known = known.filter(|known| known.start.same(start));
        if moment.is_some() && known.is_some_and(|known| known.told == moment) {
            return;
        }
        self.remember_anew(pid, start, at);
        if let Some(known) = self.processes.get_mut(&pid)
            && known.process.start.same(start)
        {
            known.process.told = moment;
        }
    }

    fn remember_anew(&mut self, pid: u32, start: Start, at: u64) {
        if self.recall_known(pid, start, at) {
            return;
        }
        let looked = self.look(pid).is_ok();
        let is_its_own = maps::started(pid).is_some_and(|live| live.same(start));
        // One that ends has no memory any more, and one of which files could not be opened may be about to.
        if looked && is_its_own && open::has_program(pid) {
            return;
        }
        let old = self.processes.remove(&pid).map(|known| known.process);
        let old = old.filter(|old| old.start.same(start));
        let whole = old.as_ref().is_some_and(Process::is_whole);
        let process = match self.told.life(pid, at) {
            Some(life) if !whole => {
                self.clock += 1;
                let mut dropped = Vec::new();
                let mut recall = Recall {
                    pid,
                    life,
                    root: self.told.root.as_ref(),
                    old: old.as_ref(),
                    files: &mut self.files,
                    dropped: &mut dropped,
                };
                let process = recall.process(start, at, self.clock);
                for key in dropped {
                    self.link.drop_file(key);
                }
                Some(process)
            }
            _ => old,
        };
        if let Some(process) = process {
            self.keep(process);
        }
    }

    /// Without a look at the process, where all that it maps are files which are known from others before it: the
    /// same by build-id, and by inode, size and time of change of what the path leads to.
    fn recall_known(&mut self, pid: u32, start: Start, at: u64) -> bool {
        let Some((life, root)) = self.told.life(pid, at).zip(self.told.root.as_ref()) else {
            return false;
        };
        let Some(program) = life.program().filter(|program| program.is_plain) else {
            return false;
        };
        if life.is_full() {
            return false;
        }
        let mut code = Vec::new();
        for (_, mapping) in life.mappings(at) {
            let source = if mapping.backing == Backing::File {
                let id = if mapping.path == program.path {
                    Some(program.id)
                } else {
                    open::id_in_root(root, &mapping.path)
                };
                let held = id.and_then(|id| self.files.known(id));
                let proven =
                    |held: &Rc<Held>| mapping.build_id.is_some() && held.is_proven(&mapping);
                match held.filter(proven) {
                    Some(held) => Source::File(held),
                    None => return false,
                }
            } else {
                Source::Nothing
            };
            code.push((mapping, source));
        }
        let old = self.processes.get(&pid).map(|known| &known.process);
        let old = old.filter(|old| old.start.same(start));
        let user = old.map_or(NO_USER, |old| old.user);
        let gone = old.into_iter().flat_map(|old| &old.code);
        let gone = gone.filter(|old| !code.iter().any(|new| is_same(old, new)));
        let gone: Vec<Range<u64>> = gone.map(|(mapping, _)| mapping.range.clone()).collect();
        if !gone.is_empty() {
            self.replaced.push((pid, gone));
        }
        self.clock += 1;
        self.keep(Process {
            pid,
            start,
            user,
            code,
            version: self.clock,
            omitted: false,
            replaced: Vec::new(),
            checked: Instant::now(),
            told: None,
        });
        true
    }

    fn keep(&mut self, process: Process) {
        let used = self.clock;
        self.processes
            .insert(process.pid, Remembered { process, used });
        self.make_room();
    }
}

struct Recall<'a> {
    pid: u32,
    life: &'a Life,
    root: Option<&'a OwnedFd>,
    /// As far as it was looked at before its end.
    old: Option<&'a Process>,
    files: &'a mut Files,
    dropped: &'a mut Vec<Key>,
}

impl Recall<'_> {
    fn process(&mut self, start: Start, at: u64, version: u64) -> Process {
        let mappings = self.life.mappings(at).into_iter();
        let code = mappings.map(|(since, mapping)| (self.source(&mapping, since), mapping));
        let code = code.map(|(source, mapping)| (mapping, source)).collect();
        Process {
            pid: self.pid,
            start,
            user: self.old.map_or(NO_USER, |old| old.user),
            code,
            version,
            omitted: self.life.is_full(),
            replaced: Vec::new(),
            checked: Instant::now(),
            told: None,
        }
    }

    fn source(&mut self, mapping: &Mapping, since: u64) -> Source {
        if mapping.backing != Backing::File {
            return Source::Nothing;
        }
        if let Some(held) = self.seen(mapping) {
            return Source::File(held);
        }
        let (pid, module) = (self.pid, mapping.name.clone());
        match self.open(mapping, since) {
            Ok((file, id)) => {
                let (held, dropped) = self.files.hold(file, id);
                self.dropped.extend(dropped);
                Source::File(held)
            }
            Err(OpenError::Replaced) => Source::Problem(Warning::FileGone { pid, module }),
            Err(OpenError::NotRegular) => Source::Problem(Warning::FileUnreadable {
                pid,
                module,
                reason: "not a regular file".to_owned(),
            }),
            Err(OpenError::Os(errno)) => Source::Problem(Warning::FileUnreadable {
                pid,
                module,
                reason: errno.to_string(),
            }),
        }
    }

    fn seen(&self, mapping: &Mapping) -> Option<Rc<Held>> {
        let mut code = self.old?.code.iter();
        code.find_map(|(known, source)| match source {
            Source::File(held)
                if known.range == mapping.range
                    && known.offset == mapping.offset
                    && known.path == mapping.path =>
            {
                Some(Rc::clone(held))
            }
            _ => None,
        })
    }

    fn open(&self, mapping: &Mapping, since: u64) -> Result<(File, FileId), OpenError> {
        let program = self.life.program();
        let program =
            program.filter(|program| undeleted(&program.path) == undeleted(&mapping.path));
        if let Some(program) = program.filter(|program| open::may_be(program.id, mapping))
            && let Ok(file) = program.file.try_clone()
        {
            return Ok((file, program.id));
        }
        let (file, id) = open::in_root(self.root.ok_or(OpenError::Replaced)?, mapping)?;
        // The number of a file that is gone may be another's by now, which then is younger than the mapping.
        if mapping.build_id.is_none() && !open::is_older_than(&file, since) {
            return Err(OpenError::Replaced);
        }
        Ok((file, id))
    }
}

/// The same code at the same place, whether it was told or looked at.
fn is_same((old, behind_old): &(Mapping, Source), (new, behind_new): &(Mapping, Source)) -> bool {
    let place = |of: &Mapping| (of.range.clone(), of.offset, of.backing);
    let file = |source: &Source| match source {
        Source::File(held) => Some(held.key),
        _ => None,
    };
    place(old) == place(new) && file(behind_old) == file(behind_new)
}

/// As `d_path` names a file before it is unlinked.
fn undeleted(path: &Path) -> &[u8] {
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes.strip_suffix(b" (deleted)").unwrap_or(bytes)
}
