//! One process as last seen: its identity and where its code is. Seen while it lives, usable after.
//! Opens files and copies the vDSO, but looks into neither.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Instant;

use super::files::{Files, Held};
use super::maps::{self, Backing, CodeMap, Mapping, Start};
use super::message::Key;
use super::open::{self, OpenError};
use super::told::Moment;
use super::warning::Warning;

/// The vDSO has 1-3 pages of code; a process can move it but hardly grow it.
const MAX_VDSO: u64 = 64 << 10;

/// Of a process that was gone before it was asked; shares its helper with no other user's.
pub(super) const NO_USER: u32 = u32::MAX;

pub(super) enum Source {
    Nothing,
    File(Rc<Held>),
    Memory(Vec<u8>),
    /// Why there is no file.
    Problem(Warning),
}

pub(super) struct Process {
    pub pid: u32,
    pub start: Start,
    /// Whose rights it had when it was last asked.
    pub user: u32,
    pub code: Vec<(Mapping, Source)>,
    /// Another one after every change.
    pub version: u64,
    /// It has more mappings of code than are kept.
    pub omitted: bool,
    /// Code that was mapped at the look before and is not there any more.
    pub replaced: Vec<Range<u64>>,
    /// When the mappings were last compared with the kernel's list.
    pub checked: Instant,
    /// What the kernel had told of it by then, where it tells.
    pub told: Option<Moment>,
}

impl Process {
    /// Reads what the process has mapped now. `old` is reused when nothing changed. `dropped` takes
    /// in the files that had to go.
    pub(super) fn look(
        pid: u32,
        old: Option<Self>,
        version: u64,
        files: &mut Files,
        dropped: &mut Vec<Key>,
    ) -> Result<Self, Box<(Warning, Option<Self>)>> {
        let map = match maps::read(pid) {
            Ok(map) => map,
            Err(warning) => return Err(Box::new((warning, old))),
        };
        let mut seen = HashMap::new();
        let mut replaced = Vec::new();
        let mut told = None;
        if let Some(mut old) = old
            && old.start == map.start
        {
            if old
                .code
                .iter()
                .map(|(mapping, _)| mapping)
                .eq(&map.mappings)
            {
                old.checked = Instant::now();
                return Ok(old);
            }
            // What was told until then is in the list too.
            told = old.told;
            // Their descriptors keep the inodes from being reused, so the numbers prove identity,
            // also where the path was deleted meanwhile.
            seen.extend(old.code.iter().filter_map(known_file));
            let gone = old.code.iter().filter(|code| !is_still(&map, code));
            replaced.extend(gone.map(|(mapping, _)| mapping.range.clone()));
        }
        let loader = Loader {
            pid,
            files,
            seen,
            dropped,
        };
        let mut process = Self::build(loader, map, version);
        process.replaced = replaced;
        process.told = told;
        Ok(process)
    }

    fn build(mut loader: Loader<'_>, map: CodeMap, version: u64) -> Self {
        let with_source = |mapping: Mapping| (loader.source(&mapping), mapping);
        let code = map.mappings.into_iter().map(with_source);
        let code = code.map(|(source, mapping)| (mapping, source)).collect();
        Self {
            pid: loader.pid,
            start: map.start,
            user: maps::user(loader.pid).unwrap_or(NO_USER),
            code,
            version,
            omitted: map.omitted,
            replaced: Vec::new(),
            checked: Instant::now(),
            told: None,
        }
    }

    pub(super) fn at(&self, address: u64) -> Option<&(Mapping, Source)> {
        let mut code = self.code.iter();
        code.find(|(mapping, _)| mapping.range.contains(&address))
    }

    /// Every file was there to be opened.
    pub(super) fn is_whole(&self) -> bool {
        let problem = |source: &Source| matches!(source, Source::Problem(_));
        !self.code.iter().any(|(_, source)| problem(source))
    }

    /// Each once, with the name of its module.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Rc<Held>, &str)> {
        let mut known = std::collections::HashSet::new();
        let files = self
            .code
            .iter()
            .filter_map(|(mapping, source)| match source {
                Source::File(held) => Some((held, mapping.name.as_str())),
                _ => None,
            });
        files.filter(move |(held, _)| known.insert(held.key))
    }
}

/// What was told is without the numbers of a file, which the file that was opened for it has.
fn is_still(map: &CodeMap, (old, source): &(Mapping, Source)) -> bool {
    let Some(new) = map.at(old.range.start) else {
        return false;
    };
    match source {
        Source::File(held) if old.build_id.is_some() => {
            let place = |of: &Mapping| (of.range.clone(), of.offset);
            place(old) == place(new) && old.path == new.path && held.id.is_of(new)
        }
        _ => old == new,
    }
}

fn known_file((mapping, source): &(Mapping, Source)) -> Option<(Inode, Result<Rc<Held>, Warning>)> {
    match source {
        Source::File(held) if mapping.build_id.is_none() => {
            Some(((mapping.dev, mapping.ino), Ok(Rc::clone(held))))
        }
        _ => None,
    }
}

/// Device and inode, as far as the list of mappings knows a file.
type Inode = ((u32, u32), u64);

struct Loader<'a> {
    pid: u32,
    files: &'a mut Files,
    /// A file is opened once for all its mappings.
    seen: HashMap<Inode, Result<Rc<Held>, Warning>>,
    dropped: &'a mut Vec<Key>,
}

impl Loader<'_> {
    fn source(&mut self, mapping: &Mapping) -> Source {
        match mapping.backing {
            Backing::Anonymous => Source::Nothing,
            Backing::Vdso => vdso(self.pid, mapping).map_or(Source::Nothing, Source::Memory),
            Backing::File => match self.file(mapping) {
                Ok(held) => Source::File(held),
                Err(problem) => Source::Problem(problem),
            },
        }
    }

    fn file(&mut self, mapping: &Mapping) -> Result<Rc<Held>, Warning> {
        let key = (mapping.dev, mapping.ino);
        if let Some(known) = self.seen.get(&key) {
            return known.clone();
        }
        let held = self.open(mapping);
        self.seen.insert(key, held.clone());
        held
    }

    fn open(&mut self, mapping: &Mapping) -> Result<Rc<Held>, Warning> {
        let (pid, module) = (self.pid, mapping.name.clone());
        let unreadable = |module, reason: String| Warning::FileUnreadable {
            pid,
            module,
            reason,
        };
        let (file, id) = match open::mapped_file(pid, mapping) {
            Ok(opened) => opened,
            Err(OpenError::Replaced) => return Err(Warning::FileReplaced { pid, module }),
            Err(OpenError::NotRegular) => {
                return Err(unreadable(module, "not a regular file".to_owned()));
            }
            Err(OpenError::Os(errno)) => return Err(unreadable(module, errno.to_string())),
        };
        let (held, dropped) = self.files.hold(file, id);
        self.dropped.extend(dropped);
        Ok(held)
    }
}

fn vdso(pid: u32, mapping: &Mapping) -> Option<Vec<u8>> {
    let size = mapping.range.end.checked_sub(mapping.range.start)?;
    if size > MAX_VDSO {
        return None;
    }
    let mut bytes = vec![0; size as usize];
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.read_exact_at(&mut bytes, mapping.range.start).ok()?;
    Some(bytes)
}
