//! Virtual threads that wait (21 and later). Java's library keeps all of them in sets, and what each executes lies on the
//! heap. Read while the program runs: who has gone on meanwhile is left out, and nothing is told where objects were moved.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};

use tracer_common::runtime::{heap, mounted};

use super::Hotspot;
use super::fields::Fields;
use super::heap::{OnHeap, known_classes};
use super::method::{Methods, Place};
use super::stream::Packing;
use super::tables::{Field, Tables};
use crate::model::stack::Frame;
use crate::symbolize::runtimes::memory::Memory;

const THREAD: &str = "java/lang/Thread";
const VIRTUAL: &str = "java/lang/VirtualThread";
/// Has those that no executor has started.
const ROOT: &str = "jdk/internal/vm/ThreadContainers$RootContainer$TrackingRootContainer";
/// Has all executors and scopes with threads of their own.
const CONTAINERS: &str = "jdk/internal/vm/ThreadContainers";
/// Classes of the runtime's own loader that are looked through; the newest come first.
const MAX_CLASSES: usize = 16_384;
/// Of one set, and of one list in it.
const MAX_SLOTS: u32 = 1 << 16;
const MAX_IN_SLOT: usize = 4096;
const MAX_CONTAINERS: usize = 256;
const MAX_TOLD: usize = 2048;
/// In the description of a class of arrays: bytes before their elements.
const HEADER_SHIFT: u64 = 16;
const HEADER_MASK: u64 = 0xff;

pub(super) struct VirtualThreads {
    fields: Fields,
    /// Classes.
    thread: u64,
    of_virtual: u64,
    /// In the object of a virtual thread: its number, the object of its stack, and who carries it.
    id: u64,
    stack: u64,
    carrier: u64,
    mounted: u64,
    loader: Field,
    newest: Field,
    older: Field,
    mirror: Field,
    layout: Field,
    /// Where it is counted how often objects were moved.
    collections: u64,
    sets: OnceCell<Sets>,
}

/// Where the references to the sets are found: what leads to the object of their class, and where in it they are.
#[derive(Clone, Copy, Debug, Default)]
struct Sets {
    root: Option<(u64, u64)>,
    containers: Option<(u64, u64)>,
}

/// One that waits.
pub(in crate::symbolize) struct Waiting {
    pub id: u64,
    /// Place in the list of stacks.
    pub stack: usize,
    at: u64,
    chunk: u64,
    /// Where in that its frames begin.
    sp: u32,
}

/// All that were found at one look.
pub(in crate::symbolize) struct Look {
    pub waiting: Vec<Waiting>,
    /// Each once, innermost frame first.
    pub stacks: Vec<Vec<Frame>>,
    /// There are no others.
    pub all: bool,
    collections: u64,
}

impl VirtualThreads {
    pub(super) fn of(
        tables: &Tables,
        methods: &Methods,
        packing: Packing,
        memory: &mut Memory<'_>,
    ) -> Option<Self> {
        let [thread, of_virtual] = known_classes(tables, methods, memory, [THREAD, VIRTUAL])?;
        let fields = Fields::of(tables, packing)?;
        let mut place = |name| fields.place(memory, methods, of_virtual, name);
        let (id, stack, carrier) = (place("tid")?, place("cont")?, place("carrierThread")?);
        let field = |of, name| tables.field(of, name);
        let (itself, executed) = (
            field("JavaThread", "_threadObj")?,
            field("JavaThread", "_vthread")?,
        );
        let collected = field("Universe", "_collectedHeap")?.of(memory, 0)?;
        Some(Self {
            fields,
            thread,
            of_virtual,
            id,
            stack,
            carrier,
            mounted: mounted::pack([itself.at, executed.at, id])?,
            loader: field("Klass", "_class_loader_data")?,
            newest: field("ClassLoaderData", "_klasses")?,
            older: field("Klass", "_next_link")?,
            mirror: field("Klass", "_java_mirror")?,
            layout: field("Klass", "_layout_helper")?,
            collections: field("CollectedHeap", "_total_collections")?.place(collected)?,
            sets: OnceCell::new(),
        })
    }

    /// See [`mounted`].
    pub(super) const fn to_note(&self) -> u64 {
        self.mounted
    }

    /// Their classes exist only once there was a virtual thread.
    fn sets(&self, memory: &mut Memory<'_>, methods: &Methods) -> Option<Sets> {
        if let Some(known) = self.sets.get() {
            return Some(*known);
        }
        let mut found = Sets::default();
        let loader = self.loader.of(memory, self.thread)?;
        let mut class = self.newest.of(memory, loader)?;
        for _ in 0..MAX_CLASSES {
            if class == 0 || found.root.is_some() && found.containers.is_some() {
                break;
            }
            let (set, name) = match methods.class(memory, class).as_deref() {
                Some(ROOT) => (&mut found.root, "VTHREADS"),
                Some(CONTAINERS) => (&mut found.containers, "CONTAINER_REGISTRY"),
                _ => {
                    class = self.older.of(memory, class)?;
                    continue;
                }
            };
            let place = self.fields.place(memory, methods, class, name)?;
            *set = Some((self.mirror.of(memory, class)?, place));
            class = self.older.of(memory, class)?;
        }
        if found.root.is_some() && found.containers.is_some() {
            let _ = self.sets.set(found);
        }
        found.containers.is_some().then_some(found)
    }
}

/// Objects, one class of which was looked at before when the next of it comes.
struct Objects<'r, 'm> {
    memory: &'r mut Memory<'m>,
    methods: &'r Methods,
    of: &'r VirtualThreads,
    on_heap: &'r OnHeap,
    places: HashMap<(u64, &'static str), Option<u64>>,
    kinds: HashMap<u64, Kind>,
    /// Nothing was left out.
    all: bool,
}

/// What there is in the slots of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
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
        for _ in 0..MAX_IN_SLOT {
            if node == 0 {
                return Some(());
            }
            found.push(self.follow(node, "key")?);
            node = self.follow(node, "next")?;
        }
        self.all = false;
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
    fn threads(&mut self, sets: Sets) -> Option<Vec<u64>> {
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
    fn suspended(&mut self, thread: u64) -> Option<(u64, u32)> {
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

impl Hotspot {
    /// `None` where there are none, or they cannot be read.
    pub(in crate::symbolize) fn waiting_virtual_threads(
        &self,
        memory: &mut Memory<'_>,
    ) -> Option<Look> {
        let on_heap = self.on_heap.as_ref()?;
        let of = self.virtual_threads.as_ref()?;
        let collections = of.moved(memory, on_heap)?;
        let sets = of.sets(memory, &self.methods)?;
        let mut objects = self.objects(memory)?;
        let threads = objects.threads(sets)?;
        let mut all = objects.all && threads.len() <= MAX_TOLD;
        let mut suspended = Vec::new();
        for at in threads.into_iter().take(MAX_TOLD) {
            let id = objects.memory.word(at.checked_add(of.id)?)?;
            match objects.suspended(at) {
                Some((chunk, sp)) => suspended.push((at, id, chunk, sp)),
                None => all = false,
            }
        }
        let heaps = self.cache.heaps(memory)?;
        memory.want(suspended.iter().map(|(_, _, chunk, _)| *chunk));
        let mut numbers: HashMap<Vec<Place>, usize> = HashMap::new();
        let mut stacks = Vec::new();
        let mut waiting = Vec::new();
        for (at, id, chunk, sp) in suspended {
            let Some(walked) = self.from_chunk(memory, &heaps, chunk) else {
                all = false;
                continue;
            };
            let stack = if let Some(known) = numbers.get(&walked.places) {
                *known
            } else {
                let named = self.name(memory, &walked.places).into_iter();
                stacks.push(named.map(|one| one.frame).collect());
                numbers.insert(walked.places, stacks.len() - 1);
                stacks.len() - 1
            };
            waiting.push(Waiting {
                id,
                stack,
                at,
                chunk,
                sp,
            });
        }
        Some(Look {
            waiting,
            stacks,
            all,
            collections,
        })
    }

    /// Which of them are still where they were, by memory that is read anew.
    pub(in crate::symbolize) fn still_wait(
        &self,
        memory: &mut Memory<'_>,
        look: &Look,
    ) -> Vec<bool> {
        let of = self.virtual_threads.as_ref().zip(self.on_heap.as_ref());
        let unmoved =
            of.and_then(|(of, on_heap)| of.moved(memory, on_heap)) == Some(look.collections);
        let Some(mut objects) = self.objects(memory).filter(|_| unmoved) else {
            return vec![false; look.waiting.len()];
        };
        objects.memory.want(look.waiting.iter().map(|one| one.at));
        let waiting = look.waiting.iter();
        waiting
            .map(|one| objects.suspended(one.at) == Some((one.chunk, one.sp)))
            .collect()
    }

    fn objects<'r, 'm>(&'r self, memory: &'r mut Memory<'m>) -> Option<Objects<'r, 'm>> {
        Some(Objects {
            memory,
            methods: &self.methods,
            of: self.virtual_threads.as_ref()?,
            on_heap: self.on_heap.as_ref()?,
            places: HashMap::new(),
            kinds: HashMap::new(),
            all: true,
        })
    }
}

impl VirtualThreads {
    /// How often objects were moved so far; `None` while they are.
    fn moved(&self, memory: &mut Memory<'_>, on_heap: &OnHeap) -> Option<u64> {
        let moving = memory.array(on_heap.collecting)?;
        let count = memory.half(self.collections)?;
        (moving == [0]).then_some(count.into())
    }
}
