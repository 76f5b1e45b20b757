//! One process as last seen: its identity and its code. Built while the process lives, usable after.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use super::code::{Code, CodeIndex};
use super::image::Image;
use super::images::Images;
use super::maps::{self, Backing, CodeMap, Mapping, Start};
use super::open::{self, OpenError};
use super::unwind::CodeWalker;
use super::warning::Warning;

/// The vDSO has 1-3 pages of code; a process can move it but hardly grow it.
const MAX_VDSO: u64 = 64 << 10;

pub(super) struct Process {
    pub start: Start,
    pub walker: CodeWalker,
    /// It has more mappings of code than are kept.
    pub omitted: bool,
    /// When the mappings were last compared with the kernel's list.
    pub checked: Instant,
}

impl Process {
    /// Reads what the process has mapped now. `old` is reused when nothing changed.
    pub(super) fn look(
        pid: u32,
        old: Option<Self>,
        images: &mut Images,
    ) -> Result<Self, Box<(Warning, Option<Self>)>> {
        let map = match maps::read(pid) {
            Ok(map) => map,
            Err(warning) => return Err(Box::new((warning, old))),
        };
        let mut seen = HashMap::new();
        if let Some(mut old) = old
            && old.start == map.start
        {
            if same_mappings(old.walker.code(), &map.mappings) {
                old.checked = Instant::now();
                return Ok(old);
            }
            // Their descriptors keep the inodes from being reused, so the numbers prove identity,
            // also where the path was deleted meanwhile.
            seen.extend(old.walker.code().iter().filter_map(known_file));
        }
        Ok(Self::build(Loader { pid, images, seen }, map))
    }

    fn build(mut loader: Loader<'_>, map: CodeMap) -> Self {
        let mappings = map.mappings.into_iter();
        let code = mappings.map(|mapping| loader.code(mapping)).collect();
        Self {
            start: map.start,
            walker: CodeWalker::new(CodeIndex::new(code)),
            omitted: map.omitted,
            checked: Instant::now(),
        }
    }
}

fn same_mappings(code: &CodeIndex, mappings: &[Mapping]) -> bool {
    let known = code.iter().map(|code| &code.mapping);
    known.eq(mappings.iter())
}

fn known_file(code: &Code) -> Option<(Inode, Result<Arc<Image>, Warning>)> {
    let mapping = &code.mapping;
    let image = code.image.as_ref()?;
    let file = mapping.backing == Backing::File;
    file.then(|| ((mapping.dev, mapping.ino), Ok(Arc::clone(image))))
}

/// Device and inode, as far as the list of mappings knows a file.
type Inode = ((u32, u32), u64);

struct Loader<'a> {
    pid: u32,
    images: &'a mut Images,
    /// A file is opened once for all its mappings.
    seen: HashMap<Inode, Result<Arc<Image>, Warning>>,
}

impl Loader<'_> {
    fn code(&mut self, mapping: Mapping) -> Code {
        match mapping.backing {
            Backing::Anonymous => Code::new(mapping, None),
            Backing::Vdso => {
                let bytes = vdso(self.pid, &mapping);
                let image = bytes.and_then(|bytes| self.images.memory(bytes).ok());
                Code::new(mapping, image)
            }
            Backing::File => match self.file(&mapping) {
                Ok(image) => Code::new(mapping, Some(image)),
                Err(problem) => Code {
                    problem: Some(problem),
                    ..Code::new(mapping, None)
                },
            },
        }
    }

    fn file(&mut self, mapping: &Mapping) -> Result<Arc<Image>, Warning> {
        let key = (mapping.dev, mapping.ino);
        if let Some(known) = self.seen.get(&key) {
            return known.clone();
        }
        let image = self.open(mapping);
        self.seen.insert(key, image.clone());
        image
    }

    fn open(&mut self, mapping: &Mapping) -> Result<Arc<Image>, Warning> {
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
        self.images
            .file(file, id)
            .map_err(|reason| Warning::NotAProgram {
                pid,
                module,
                reason: reason.to_owned(),
            })
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
