//! Virtual threads that wait (21 and later). Java's library keeps all of them in sets, and what each executes lies on the
//! heap. Read while the program runs: who has gone on meanwhile is left out, and nothing is told where objects were moved.

use std::cell::OnceCell;
use std::collections::HashMap;

use tracer_common::made_by::mounted;

use super::Hotspot;
use super::fields::Fields;
use super::heap::{OnHeap, known_classes};
use super::method::{Methods, Place};
use super::objects::{MAX_NODES, Objects};
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
const MAX_TOLD: usize = 2048;

pub(super) struct VirtualThreads {
    pub fields: Fields,
    /// Classes.
    thread: u64,
    pub of_virtual: u64,
    /// In the object of a virtual thread: its number, the object of its stack, and who carries it.
    id: u64,
    pub stack: u64,
    pub carrier: u64,
    mounted: u64,
    loader: Field,
    newest: Field,
    older: Field,
    mirror: Field,
    pub layout: Field,
    /// Where it is counted how often objects were moved.
    collections: u64,
    sets: OnceCell<Sets>,
}

/// Where the references to the sets are found: what leads to the object of their class, and where in it they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sets {
    pub root: Option<(u64, u64)>,
    pub containers: Option<(u64, u64)>,
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
            let Some(walked) = self.walk_chunks(memory, &heaps, chunk) else {
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
        let none = || vec![false; look.waiting.len()];
        let Some(mut objects) = self.objects(memory) else {
            return none();
        };
        objects.memory.want(look.waiting.iter().map(|one| one.at));
        let waiting = look.waiting.iter();
        let still = waiting
            .map(|one| objects.suspended(one.at) == Some((one.chunk, one.sp)))
            .collect();
        // After all else is read.
        let of = self.virtual_threads.as_ref().zip(self.on_heap.as_ref());
        let moved = of.and_then(|(of, on_heap)| of.moved(memory, on_heap));
        if moved == Some(look.collections) {
            still
        } else {
            none()
        }
    }

    fn objects<'r, 'm>(&'r self, memory: &'r mut Memory<'m>) -> Option<Objects<'r, 'm>> {
        Some(Objects {
            memory,
            methods: &self.methods,
            of: self.virtual_threads.as_ref()?,
            on_heap: self.on_heap.as_ref()?,
            places: HashMap::new(),
            kinds: HashMap::new(),
            left: MAX_NODES,
            all: true,
        })
    }
}

impl VirtualThreads {
    /// How often objects were moved so far; `None` while they are.
    fn moved(&self, memory: &mut Memory<'_>, on_heap: &OnHeap) -> Option<u64> {
        memory.forget(on_heap.collecting);
        memory.forget(self.collections);
        let moving = memory.array(on_heap.collecting)?;
        let count = memory.half(self.collections)?;
        (moving == [0]).then_some(count.into())
    }
}
