//! HotSpot 11 to 25: what Java threads that wait execute, interpreted, compiled or inlined, from the virtual machine's own
//! structures. It is not asked and does not stop. What does not fit ends the stack there.

mod code_cache;
mod compiled;
mod epoch;
mod fields;
mod heap;
mod method;
mod note;
mod objects;
mod stream;
mod tables;
mod virtual_threads;
mod walk;

use super::exports;
use super::memory::Memory;
use super::threads::{self, MAX_THREADS};
use crate::model::stack::Frame;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::open::FileId;
use code_cache::{CodeCache, Heap};
use compiled::Compiled;
use heap::{MAX_CHUNKS, OnHeap};
use method::Methods;
use stream::Packing;
use tables::{EXPORTS, Field, Tables};
use virtual_threads::VirtualThreads;
use walk::{Walked, Words};

pub(in crate::symbolize) struct Hotspot {
    pub image: FileId,
    threads: List,
    os_thread: Field,
    pthread: Field,
    anchor: Field,
    anchor_sp: Field,
    anchor_pc: Field,
    anchor_fp: Field,
    wrapper_anchor: Field,
    call_stub: u64,
    /// Where the interpreter's code begins and ends.
    interpreter: Option<(u64, u64)>,
    /// Where a number is that changes when a class is unloaded.
    epoch: Option<u64>,
    cache: CodeCache,
    compiled: Compiled,
    methods: Methods,
    /// Where virtual threads have frames.
    on_heap: Option<OnHeap>,
    virtual_threads: Option<VirtualThreads>,
    /// From the thread pointer to the place of the pointer to the `JavaThread`.
    state: Option<u64>,
}

/// How all threads are found.
enum List {
    Chain {
        first: Field,
        next: Field,
    },
    Array {
        list: Field,
        length: Field,
        threads: Field,
    },
}

impl Hotspot {
    pub(super) fn learn(code: &CodeIndex, memory: &mut Memory<'_>) -> Option<Self> {
        let mut seen = Vec::new();
        code.iter().find_map(|code| {
            let image = code.image.as_deref()?;
            if seen.contains(&image.id) {
                return None;
            }
            seen.push(image.id);
            Self::of(code, memory)
        })
    }

    fn of(code: &Code, memory: &mut Memory<'_>) -> Option<Self> {
        let (image, bias) = (code.image.as_deref()?, code.bias?);
        let exports = exports::find(&image.file, EXPORTS);
        let exports = exports.map(|address| address.map(|address| address.wrapping_add(bias)));
        memory.read_ahead(15);
        let tables = Tables::read(memory, &exports);
        memory.read_ahead(0);
        let tables = tables?;
        let field = |of, name| tables.field(of, name);
        let release = field("Abstract_VM_Version", "_vm_major_version")?.of(memory, 0)?;
        if !(11..=25).contains(&release) {
            return None;
        }
        let packing = if release < 20 {
            Packing::WithZero
        } else {
            Packing::WithoutZero
        };
        let anchor = |name| field("JavaFrameAnchor", name);
        let mut found = Self {
            image: image.id,
            threads: List::of(&tables)?,
            os_thread: field("JavaThread", "_osthread").or_else(|| field("Thread", "_osthread"))?,
            pthread: field("OSThread", "_pthread_id")?,
            anchor: field("JavaThread", "_anchor")?,
            anchor_sp: anchor("_last_Java_sp")?,
            anchor_pc: anchor("_last_Java_pc")?,
            anchor_fp: anchor("_last_Java_fp")?,
            wrapper_anchor: field("JavaCallWrapper", "_anchor")?,
            call_stub: field("StubRoutines", "_call_stub_return_address")?.of(memory, 0)?,
            interpreter: interpreter(&tables, memory),
            epoch: epoch::find(&tables, memory),
            cache: CodeCache::of(&tables)?,
            compiled: Compiled::of(&tables, packing)?,
            methods: Methods::of(&tables, packing)?,
            on_heap: None,
            virtual_threads: None,
            state: None,
        };
        if release >= 21 {
            found.on_heap = OnHeap::of(&tables, &found.methods, packing, memory);
            let known = found.on_heap.as_ref();
            found.virtual_threads =
                known.and_then(|_| VirtualThreads::of(&tables, &found.methods, packing, memory));
        }
        let known = found.list(memory);
        found.state = threads::place_of_state(memory, &known);
        Some(found)
    }

    /// Thread pointer and `JavaThread`, as far as the list can be read.
    fn list(&self, memory: &mut Memory<'_>) -> Vec<(u64, u64)> {
        let threads = self.threads.read(memory).unwrap_or_default();
        memory.want(
            threads
                .iter()
                .map(|thread| thread.wrapping_add(self.os_thread.at)),
        );
        let pointer = |thread: &u64| Some((self.pointer_of(memory, *thread)?, *thread));
        threads.iter().filter_map(pointer).collect()
    }

    /// On Linux the C library's handle of a thread is its thread pointer.
    fn pointer_of(&self, memory: &mut Memory<'_>, thread: u64) -> Option<u64> {
        let os = self.os_thread.of(memory, thread)?;
        self.pthread.of(memory, os)
    }

    fn thread_of(&self, memory: &mut Memory<'_>, pointer: u64) -> Option<u64> {
        if let Some(place) = self.state
            && let Some(thread) = memory.word(pointer.checked_add(place)?)
            && self.pointer_of(memory, thread) == Some(pointer)
        {
            return Some(thread);
        }
        let known = self.list(memory);
        let found = known.into_iter().find(|(of, _)| *of == pointer);
        found.map(|(_, thread)| thread)
    }

    /// What the thread with this thread pointer executes, innermost first; the second value says that outer frames are
    /// missing. Only for a thread that does not run meanwhile.
    pub(super) fn present(
        &self,
        memory: &mut Memory<'_>,
        pointer: u64,
    ) -> Option<(Vec<Frame>, bool)> {
        let thread = self.thread_of(memory, pointer)?;
        let anchor = self.anchor.place(thread)?;
        let at = self.anchored(memory, anchor, Words::Live)?;
        let heaps = self.cache.heaps(memory)?;
        let mut walked = self.walk(memory, &heaps, at, Words::Live);
        if let Some((_, entry)) = walked.barrier {
            let entry = thread.checked_add(entry.into())?;
            let outer = self.on_heap(memory, &heaps, entry);
            walked.truncated = outer.truncated;
            walked.places.extend(outer.places);
        }
        let frames = self.name(memory, &walked.places);
        let truncated = walked.truncated || frames.len() < walked.places.len();
        let frames = frames.into_iter().map(|one| one.frame).collect();
        Some((frames, truncated))
    }
}

impl Hotspot {
    /// The frames of a virtual thread that lie on the heap. All or none: a collector may move them meanwhile.
    fn on_heap(&self, memory: &mut Memory<'_>, heaps: &[Heap], entry: u64) -> Walked {
        let none = Walked {
            truncated: true,
            ..Walked::default()
        };
        let mut walk = || {
            let of = self.on_heap.as_ref()?;
            let innermost = of.innermost(memory, entry)?;
            let walked = self.walk_chunks(memory, heaps, innermost)?;
            of.is_still(memory, entry, innermost).then_some(walked)
        };
        walk().unwrap_or(none)
    }

    /// The frames in this object and those further out.
    fn walk_chunks(
        &self,
        memory: &mut Memory<'_>,
        heaps: &[Heap],
        innermost: u64,
    ) -> Option<Walked> {
        let of = self.on_heap.as_ref()?;
        let mut chunk = innermost;
        let mut walked = Walked::default();
        for _ in 0..MAX_CHUNKS {
            if chunk == 0 {
                break;
            }
            let found = of.chunk(memory, chunk)?;
            let words = Words::OnHeap { end: found.end };
            let outer = self.walk(memory, heaps, found.first, words);
            walked.places.extend(outer.places);
            walked.truncated = outer.truncated;
            if outer.truncated {
                break;
            }
            chunk = found.outer;
        }
        walked.truncated |= chunk != 0;
        Some(walked)
    }
}

fn interpreter(tables: &Tables, memory: &mut Memory<'_>) -> Option<(u64, u64)> {
    let queue = tables
        .field("AbstractInterpreter", "_code")?
        .of(memory, 0)?;
    let code = tables.field("StubQueue", "_stub_buffer")?;
    let size = tables.field("StubQueue", "_buffer_limit")?;
    let begin = code.of(memory, queue)?;
    Some((begin, begin.checked_add(size.of(memory, queue)?)?))
}

impl List {
    fn of(tables: &Tables) -> Option<Self> {
        let array = || {
            Some(Self::Array {
                list: tables.field("ThreadsSMRSupport", "_java_thread_list")?,
                length: tables.field("ThreadsList", "_length")?,
                threads: tables.field("ThreadsList", "_threads")?,
            })
        };
        let chain = || {
            Some(Self::Chain {
                first: tables.field("Threads", "_thread_list")?,
                next: tables.field("JavaThread", "_next")?,
            })
        };
        array().or_else(chain)
    }

    fn read(&self, memory: &mut Memory<'_>) -> Option<Vec<u64>> {
        let mut found = Vec::new();
        match self {
            Self::Array {
                list,
                length,
                threads,
            } => {
                let list = list.of(memory, 0)?;
                let count = length.of(memory, list)?.min(MAX_THREADS as u64);
                let threads = threads.of(memory, list)?;
                for number in 0..count {
                    found.push(memory.word(threads.checked_add(number * 8)?)?);
                }
            }
            Self::Chain { first, next } => {
                let mut thread = first.of(memory, 0)?;
                while thread != 0 && found.len() < MAX_THREADS {
                    found.push(thread);
                    thread = next.of(memory, thread)?;
                }
            }
        }
        Some(found)
    }
}
