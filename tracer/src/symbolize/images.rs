//! The images in use by any process, each read once, and their names. The tracer bounds the images;
//! of the names, the least recently used go first.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use super::image::Image;
use super::message::Key;
use super::names::Names;
use super::open::FileId;

/// Files whose names are loaded, and the bytes those may hold together.
const MAX_NAMED: usize = 64;
const MAX_NAMES_BYTES: u64 = 1 << 30;
/// Distinct vDSOs: one per kernel and word size, plus what hostile processes make up.
const MAX_MEMORY_IMAGES: usize = 4;

struct Used<T> {
    value: T,
    at: u64,
}

/// Is told whose names are read next, and whether for the first time.
pub(super) type Teller = Box<dyn Fn(FileId, bool)>;

pub(super) struct Images {
    clock: u64,
    files: HashMap<Key, Arc<Image>>,
    memory: Vec<(Vec<u8>, Arc<Image>)>,
    names: HashMap<FileId, Used<Names>>,
    tell: Teller,
    pub evicted_names: u64,
}

impl Images {
    pub(super) fn new(tell: Teller) -> Self {
        Self {
            clock: 0,
            files: HashMap::new(),
            memory: Vec::new(),
            names: HashMap::new(),
            tell,
            evicted_names: 0,
        }
    }

    pub(super) fn add(&mut self, key: Key, image: Arc<Image>) {
        self.files.insert(key, image);
    }

    /// Beyond the first two they are not wanted.
    pub(super) fn add_debug_file(&mut self, of: Key, file: File) {
        let places = self.files.get(&of).map(|image| &image.debug_files);
        let mut places = places.into_iter().flatten();
        if let Some(place) = places.find(|place| place.get().is_none()) {
            let _ = place.set(file);
        }
    }

    pub(super) fn file(&self, key: Key) -> Option<Arc<Image>> {
        self.files.get(&key).map(Arc::clone)
    }

    /// Processes that use the image keep it.
    pub(super) fn drop(&mut self, key: Key) {
        self.files.remove(&key);
    }

    pub(super) fn memory(&mut self, bytes: Vec<u8>) -> Result<Arc<Image>, &'static str> {
        if let Some((_, image)) = self.memory.iter().find(|(known, _)| *known == bytes) {
            return Ok(Arc::clone(image));
        }
        let image = Arc::new(Image::from_memory(&bytes)?);
        if self.memory.len() >= MAX_MEMORY_IMAGES {
            self.memory.remove(0);
        }
        self.memory.push((bytes, Arc::clone(&image)));
        Ok(image)
    }

    /// Loads the names on first use; `library` tells which kind of file it is loaded for.
    pub(super) fn names(&mut self, image: &Image, library: bool) -> &mut Names {
        self.clock += 1;
        let first = !self.names.contains_key(&image.id);
        (self.tell)(image.id, first);
        if first {
            let names = Names::load(image, library);
            while self.names.len() >= MAX_NAMED
                || (!self.names.is_empty() && self.names_bytes() + names.size > MAX_NAMES_BYTES)
            {
                evict_oldest(&mut self.names);
                self.evicted_names += 1;
            }
            let at = self.clock;
            self.names.insert(image.id, Used { value: names, at });
        }
        let used = self.names.entry(image.id).or_insert_with(|| Used {
            value: Names::default(),
            at: 0,
        });
        used.at = self.clock;
        &mut used.value
    }

    fn names_bytes(&self) -> u64 {
        self.names.values().map(|used| used.value.size).sum()
    }
}

fn evict_oldest<T>(entries: &mut HashMap<FileId, Used<T>>) {
    let oldest = entries.iter().min_by_key(|(_, used)| used.at);
    if let Some(id) = oldest.map(|(id, _)| *id) {
        entries.remove(&id);
    }
}
