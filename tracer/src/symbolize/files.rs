//! The files that processes have mapped, opened once each. Parses nothing: what the helper found
//! out about a file is kept beside it. Bounded: the least recently used go first.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::rc::Rc;

use super::maps::Mapping;
use super::message::{Key, Unusable};
use super::open::FileId;

/// One descriptor each here, and one with 10-500 KiB of unwind tables in the helper.
const MAX_FILES: usize = 256;

/// Kept open: the names may be wanted when the process and the path are gone.
pub(super) struct Held {
    pub key: Key,
    pub id: FileId,
    pub file: File,
    /// What the helper said when it loaded the file: its build-id, or why it is of no use.
    pub loaded: OnceCell<Result<Option<String>, Unusable>>,
}

impl Held {
    /// It was read, and is what the kernel told of the mapping.
    pub(super) fn is_proven(&self, mapping: &Mapping) -> bool {
        let found = self.loaded.get().and_then(|loaded| loaded.as_ref().ok());
        found.is_some_and(|found| mapping.is_of_build(found.as_deref()))
    }
}

#[derive(Default)]
pub(super) struct Files {
    next: Key,
    clock: u64,
    held: HashMap<FileId, (Rc<Held>, u64)>,
    pub evicted: u64,
}

impl Files {
    /// Also returns the file that had to go for this one.
    pub(super) fn hold(&mut self, file: File, id: FileId) -> (Rc<Held>, Option<Key>) {
        self.clock += 1;
        if let Some((known, used)) = self.held.get_mut(&id) {
            *used = self.clock;
            return (Rc::clone(known), None);
        }
        self.next += 1;
        let held = Rc::new(Held {
            key: self.next,
            id,
            file,
            loaded: OnceCell::new(),
        });
        self.held.insert(id, (Rc::clone(&held), self.clock));
        (held, self.make_room())
    }

    /// One that is held already.
    pub(super) fn known(&mut self, id: FileId) -> Option<Rc<Held>> {
        self.clock += 1;
        let (known, used) = self.held.get_mut(&id)?;
        *used = self.clock;
        Some(Rc::clone(known))
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    fn make_room(&mut self) -> Option<Key> {
        if self.held.len() <= MAX_FILES {
            return None;
        }
        let oldest = self.held.iter().min_by_key(|(_, (_, used))| *used);
        let id = oldest.map(|(id, _)| *id)?;
        let (gone, _) = self.held.remove(&id)?;
        self.evicted += 1;
        Some(gone.key)
    }
}
