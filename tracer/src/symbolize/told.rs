//! Code of processes as the kernel tells of it while they run: which process had what mapped at which moment.
//! Opens nothing.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fd::OwnedFd;

use super::maps::{self, Backing, Mapping};
use super::open::FileId;
use crate::model::code_change::{Change, CodeChange, FileIdentity, MappedCode};

/// As many as are read of a living process.
const MAX_MAPPINGS: usize = 4096;

#[derive(Default)]
pub(super) struct Told {
    /// What the tree sees as `/`.
    pub root: Option<OwnedFd>,
    pub lives: HashMap<u32, Life>,
}

#[derive(Clone)]
pub(super) struct Life {
    /// When the process came to be, or executed its program (`CLOCK_MONOTONIC` ns).
    begun: u64,
    /// When the program was executed, perhaps by an ancestor.
    executed: u64,
    pub ended: Option<u64>,
    threads: u32,
    /// With the time of each; shared with children until they change it.
    code: Rc<Vec<(u64, MappedCode)>>,
    pub program: Option<Rc<Program>>,
}

/// What a process executes, opened while it did.
pub(super) struct Program {
    pub file: File,
    pub id: FileId,
    pub path: PathBuf,
    pub opened: u64,
    /// Its file's name says as much as what it was started as.
    pub is_plain: bool,
}

/// What of a process's code was told until a moment: the program that it executed, and how many mappings since.
pub(super) type Moment = (u64, usize);

impl Told {
    pub(super) fn apply(&mut self, change: CodeChange) {
        let CodeChange { at, pid, what } = change;
        match what {
            Change::Executed => {
                self.lives.insert(pid, Life::of_program(at));
            }
            Change::Forked { parent } => match self.lives.get(&parent).cloned() {
                Some(life) => {
                    self.lives.insert(pid, life.of_child(at));
                }
                // The number may have been that of another.
                None => drop(self.lives.remove(&pid)),
            },
            Change::Mapped(code) => {
                if let Some(life) = self.lives.get_mut(&pid) {
                    life.map(at, code);
                }
            }
            Change::ThreadBegan => {
                if let Some(life) = self.lives.get_mut(&pid) {
                    life.threads += 1;
                }
            }
            Change::ThreadEnded => {
                if let Some(life) = self.lives.get_mut(&pid) {
                    life.threads = life.threads.saturating_sub(1);
                    life.ended = (life.threads == 0).then_some(at);
                }
            }
        }
    }

    /// The process as it was then; `None` when that is not known.
    pub(super) fn life(&self, pid: u32, at: u64) -> Option<&Life> {
        let life = self.lives.get(&pid)?;
        (life.begun <= at && !life.code.is_empty()).then_some(life)
    }
}

impl Life {
    fn of_program(at: u64) -> Self {
        Self {
            begun: at,
            executed: at,
            ended: None,
            threads: 1,
            code: Rc::default(),
            program: None,
        }
    }

    fn of_child(self, at: u64) -> Self {
        Self {
            begun: at,
            ended: None,
            threads: 1,
            ..self
        }
    }

    fn map(&mut self, at: u64, code: MappedCode) {
        if !self.is_full() {
            Rc::make_mut(&mut self.code).push((at, code));
        }
    }

    /// What was mapped then and since when, by address. What is only partly covered by something younger is left
    /// out.
    pub(super) fn mappings(&self, at: u64) -> Vec<(u64, Mapping)> {
        let mut kept: Vec<&(u64, MappedCode)> = Vec::new();
        for new in self.code.iter().filter(|(when, _)| *when <= at) {
            let range = &new.1.range;
            kept.retain(|(_, old)| old.range.end <= range.start || range.end <= old.range.start);
            kept.push(new);
        }
        kept.sort_by_key(|(_, code)| code.range.start);
        kept.into_iter()
            .map(|(when, code)| (*when, mapping(code)))
            .collect()
    }

    /// Nothing was mapped as code between two moments that are equal.
    pub(super) fn moment(&self, at: u64) -> Moment {
        let until = self.code.partition_point(|(when, _)| *when <= at);
        (self.executed, until)
    }

    pub(super) fn is_full(&self) -> bool {
        self.code.len() >= MAX_MAPPINGS
    }

    /// Opened while this program was executed, and not the one before it.
    pub(super) fn program(&self) -> Option<&Program> {
        let program = self.program.as_deref()?;
        (program.opened >= self.executed).then_some(program)
    }

    /// The kernel maps a program first, then its interpreter.
    pub(super) fn path(&self) -> Option<&Path> {
        let (_, first) = self.code.first()?;
        let path = self.program().map_or(&first.path, |program| &program.path);
        path.is_absolute().then_some(path)
    }
}

fn mapping(code: &MappedCode) -> Mapping {
    let path = code.path.clone();
    let (backing, dev, ino, build_id) = match &code.identity {
        FileIdentity::BuildId(id) => (Backing::File, (0, 0), 0, Some(id.clone())),
        FileIdentity::Inode(dev, ino) => (Backing::File, *dev, *ino, None),
        FileIdentity::None if path.as_os_str() == "[vdso]" => (Backing::Vdso, (0, 0), 0, None),
        FileIdentity::None => (Backing::Anonymous, (0, 0), 0, None),
    };
    let name = match backing {
        Backing::File => maps::module(&path),
        Backing::Vdso => "[vdso]".to_owned(),
        Backing::Anonymous => "[anon]".to_owned(),
    };
    Mapping {
        range: code.range.clone(),
        offset: code.offset,
        dev,
        ino,
        build_id,
        backing,
        of_system: maps::is_of_system(&path),
        path,
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(start: u64, end: u64, path: &str) -> Change {
        Change::Mapped(MappedCode {
            range: start..end,
            offset: 0,
            path: path.into(),
            identity: FileIdentity::Inode((8, 1), 7),
        })
    }

    fn told(changes: &[(u64, u32, Change)]) -> Told {
        let mut told = Told::default();
        for (at, pid, what) in changes {
            told.apply(CodeChange {
                at: *at,
                pid: *pid,
                what: what.clone(),
            });
        }
        told
    }

    fn modules(told: &Told, pid: u32, at: u64) -> Option<Vec<String>> {
        let life = told.life(pid, at)?;
        let mappings = life.mappings(at).into_iter();
        Some(mappings.map(|(_, mapping)| mapping.name).collect())
    }

    #[test]
    fn a_process_has_what_was_mapped_until_then() {
        let told = told(&[
            (10, 1, Change::Executed),
            (11, 1, code(0x1000, 0x3000, "/bin/app")),
            (12, 1, code(0x8000, 0x9000, "/lib/a.so")),
            (20, 1, code(0x8000, 0x8800, "/lib/b.so")),
        ]);
        let app = |others: &[&str]| {
            let all = ["app"].iter().chain(others);
            Some(all.map(|name| (*name).to_owned()).collect())
        };
        assert_eq!(modules(&told, 1, 9), None);
        assert_eq!(modules(&told, 1, 11), app(&[]));
        assert_eq!(modules(&told, 1, 15), app(&["a.so"]));
        assert_eq!(modules(&told, 1, 25), app(&["b.so"]));
        assert_eq!(modules(&told, 2, 25), None);
    }

    #[test]
    fn a_child_has_what_its_parent_had_until_it_executes() {
        let told = told(&[
            (10, 1, Change::Executed),
            (11, 1, code(0x1000, 0x3000, "/bin/sh")),
            (20, 2, Change::Forked { parent: 1 }),
            (21, 3, Change::Forked { parent: 1 }),
            (22, 1, code(0x8000, 0x9000, "/lib/late.so")),
            (30, 3, Change::Executed),
            (31, 3, code(0x4000, 0x5000, "/bin/ls")),
            // Of a parent that nobody knows.
            (32, 4, Change::Forked { parent: 99 }),
        ]);
        assert_eq!(modules(&told, 2, 40), Some(vec!["sh".to_owned()]));
        assert_eq!(modules(&told, 3, 40), Some(vec!["ls".to_owned()]));
        assert_eq!(modules(&told, 3, 25), None);
        assert_eq!(modules(&told, 4, 40), None);
    }

    #[test]
    fn a_process_ends_with_its_last_thread() {
        let mut told = told(&[
            (10, 1, Change::Executed),
            (11, 1, code(0x1000, 0x3000, "/bin/app")),
            (12, 1, Change::ThreadBegan),
            (13, 1, Change::ThreadEnded),
        ]);
        assert_eq!(told.lives[&1].ended, None);
        told.apply(CodeChange {
            at: 14,
            pid: 1,
            what: Change::ThreadEnded,
        });
        assert_eq!(told.lives[&1].ended, Some(14));
    }
}
