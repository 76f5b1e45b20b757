//! Objects on the heap that lead to virtual threads: sets of Java's library, those of executors among them, and what a thread
//! that nobody carries has on its stack.

use std::collections::{HashMap, HashSet};

use tracer_common::runtime::heap;

use super::heap::OnHeap;
use super::method::Methods;
use super::virtual_threads::{Sets, VirtualThreads};
use crate::symbolize::runtimes::memory::Memory;

/// Of one set.
const MAX_SLOTS: u32 = 1 << 16;
/// Of all sets at one look: lists may have no end.
pub(super) const MAX_NODES: usize = 1 << 16;
const MAX_CONTAINERS: usize = 256;
/// In the description of a class of arrays: bytes before their elements.
const HEADER_SHIFT: u64 = 16;
const HEADER_MASK: u64 = 0xff;

/// Reads objects; where those of a class have a field is looked up once.
pub(super) struct Objects<'r, 'm> {
    pub memory: &'r mut Memory<'m>,
    pub methods: &'r Methods,
    pub of: &'r VirtualThreads,
    pub on_heap: &'r OnHeap,
    pub places: HashMap<(u64, &'static str), Option<u64>>,
    pub kinds: HashMap<u64, Kind>,
    /// Nodes of lists that may still be followed.
    pub left: usize,
    /// Nothing was left out.
    pub all: bool,
}

/// What there is in the slots of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Node,
    Tree,
    Other,
}

impl Objects<'_, '_> {
    /// What this field of an object refers to; 0 for nothing.
    fn follow(&mut self, object: u64, field: &'static str) -> Option<u64> {
        let class = self.on_heap.classes.class(self.memory, object)?;
        let of = self.of;
        let (memory, methods) = (&mut *self.memory, self.methods);
        let place = self.places.entry((class, field));
        let place = *place.or_insert_with(|| of.fields.place(memory, methods, class, field));
        self.on_heap.at(self.memory, object.checked_add(place?)?)
    }

    /// Where the object of a class refers to a set.
    fn set(&mut self, (handle, place): (u64, u64)) -> Option<u64> {
        let mirror = self.memory.word(handle)?;
        self.on_heap.at(self.memory, mirror.checked_add(place)?)
    }

    /// What is in one of `java.util.concurrent.ConcurrentHashMap`'s sets.
    fn members(&mut self, set: u64) -> Option<Vec<u64>> {
        let map = self.follow(set, "map")?;
        let table = self.follow(map, "table")?;
        if table == 0 {
            return Some(Vec::new());
        }
        let class = self.on_heap.classes.class(self.memory, table)?;
        let layout = self.of.layout.of(self.memory, class)?;
        let first = table.checked_add(layout >> HEADER_SHIFT & HEADER_MASK)?;
        let length = table.checked_add(self.on_heap.classes.length)?;
        let length = self.memory.half(length)?;
        self.all &= length <= MAX_SLOTS;
        let size = self.on_heap.size();
        let slots = (0..u64::from(length.min(MAX_SLOTS))).map(|slot| first + slot * size);
        self.memory.want(slots.clone());
        let mut nodes = Vec::new();
        for slot in slots {
            nodes.push(self.on_heap.at(self.memory, slot)?);
        }
        nodes.retain(|node| *node != 0);
        self.memory.want(nodes.iter().copied());
        let mut found = Vec::new();
        for node in nodes {
            let node = match self.kind(node)? {
                Kind::Node => node,
                Kind::Tree => self.follow(node, "first")?,
                Kind::Other => {
                    self.all = false;
                    continue;
                }
            };
            self.chain(node, &mut found)?;
        }
        Some(found)
    }

    fn chain(&mut self, first: u64, found: &mut Vec<u64>) -> Option<()> {
        let mut node = first;
        while node != 0 {
            let Some(left) = self.left.checked_sub(1) else {
                self.all = false;
                break;
            };
            self.left = left;
            found.push(self.follow(node, "key")?);
            node = self.follow(node, "next")?;
        }
        Some(())
    }

    fn kind(&mut self, object: u64) -> Option<Kind> {
        let class = self.on_heap.classes.class(self.memory, object)?;
        if let Some(known) = self.kinds.get(&class) {
            return Some(*known);
        }
        let name = self.methods.class(self.memory, class)?;
        let kind = match name.rsplit('$').next()? {
            "Node" => Kind::Node,
            "TreeBin" => Kind::Tree,
            _ => Kind::Other,
        };
        self.kinds.insert(class, kind);
        Some(kind)
    }

    /// The objects of all virtual threads.
    pub(super) fn threads(&mut self, sets: Sets) -> Option<Vec<u64>> {
        let mut found = Vec::new();
        match sets.root {
            Some(root) => {
                let set = self.set(root)?;
                found.extend(self.members(set)?);
            }
            // The program was started so that those of no executor are not kept.
            None => self.all = false,
        }
        let containers = self.set(sets.containers?)?;
        let containers = self.members(containers)?;
        self.all &= containers.len() <= MAX_CONTAINERS;
        for weak in containers.into_iter().take(MAX_CONTAINERS) {
            let container = self.follow(weak, "referent")?;
            if container == 0 {
                continue;
            }
            let owner = self.follow(container, "flock").unwrap_or(container);
            if let Some(set) = self.follow(owner, "threads") {
                found.extend(self.members(set)?);
            }
        }
        let mut seen = HashSet::new();
        found.retain(|thread| *thread != 0 && seen.insert(*thread));
        self.memory.want(found.iter().copied());
        let mut threads = Vec::new();
        for thread in found {
            if self.on_heap.classes.class(self.memory, thread)? == self.of.of_virtual {
                threads.push(thread);
            }
        }
        Some(threads)
    }

    /// The innermost object with frames of one that nobody carries, and where they begin in it.
    pub(super) fn suspended(&mut self, thread: u64) -> Option<(u64, u32)> {
        let mut at = |from: u64, place| self.on_heap.at(self.memory, from.checked_add(place)?);
        if at(thread, self.of.carrier)? != 0 {
            return None;
        }
        let stack = at(thread, self.of.stack).filter(|stack| *stack != 0)?;
        let tail = heap::place(self.on_heap.places, heap::TAIL);
        let chunk = at(stack, tail).filter(|chunk| *chunk != 0)?;
        let sp = chunk.checked_add(heap::place(self.on_heap.places, heap::SP))?;
        Some((chunk, self.memory.half(sp)?))
    }
}
