//! HotSpot 11 to 25: what Java threads that wait execute, interpreted, compiled or inlined, from the virtual machine's own
//! structures. It is not asked and does not stop. What does not fit ends the stack there.

mod code_cache;
mod compiled;
mod method;
mod stream;
mod tables;

use super::exports;
use super::memory::Memory;
use super::threads::{self, MAX_THREADS};
use crate::model::stack::Frame;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::open::FileId;
use code_cache::{CodeCache, Heap, Kind};
use compiled::Compiled;
use method::{Methods, Place};
use stream::Packing;
use tables::{EXPORTS, Field, Tables};

const MAX_FRAMES: usize = 128;
/// Words from the frame pointer of an interpreted frame; `frame_x86.hpp` has them so since 9.
#[cfg(target_arch = "x86_64")]
const BYTECODE: i64 = -8;
#[cfg(target_arch = "aarch64")]
const BYTECODE: i64 = -9;
const METHOD: i64 = -3;
const SENDER_SP: i64 = -1;
/// And from that of the frame by which C code calls Java.
#[cfg(target_arch = "x86_64")]
const CALL_WRAPPER: i64 = -6;
#[cfg(target_arch = "aarch64")]
const CALL_WRAPPER: i64 = -8;

pub(super) struct Hotspot {
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
    cache: CodeCache,
    compiled: Compiled,
    methods: Methods,
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

/// Registers of a frame.
#[derive(Clone, Copy)]
struct At {
    pc: u64,
    sp: u64,
    fp: u64,
}

/// What lies further out than C code that called Java.
enum Beyond {
    Java(At),
    Nothing,
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
            cache: CodeCache::of(&tables)?,
            compiled: Compiled::of(&tables, packing)?,
            methods: Methods::of(&tables, packing)?,
            state: None,
        };
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
        let at = self.anchored(memory, anchor)?;
        let heaps = self.cache.heaps(memory)?;
        let (places, truncated) = self.walk(memory, &heaps, at);
        self.methods.want(memory, &places);
        let frames: Vec<Frame> = places
            .iter()
            .map_while(|place| self.methods.frame(memory, place))
            .collect();
        let truncated = truncated || frames.len() < places.len();
        Some((frames, truncated))
    }

    /// Where Java was left; `None` when the thread is not in Java at all.
    fn anchored(&self, memory: &mut Memory<'_>, anchor: u64) -> Option<At> {
        let sp = self.anchor_sp.of(memory, anchor)?;
        if sp == 0 {
            return None;
        }
        let pc = match self.anchor_pc.of(memory, anchor)? {
            0 => memory.word(sp.checked_sub(8)?)?,
            pc => pc,
        };
        let fp = self.anchor_fp.of(memory, anchor)?;
        Some(At { pc, sp, fp })
    }

    fn walk(&self, memory: &mut Memory<'_>, heaps: &[Heap], from: At) -> (Vec<Place>, bool) {
        let mut places = Vec::new();
        let mut at = from;
        for _ in 0..MAX_FRAMES {
            if at.pc == self.call_stub {
                match self.further_out(memory, at) {
                    Some(Beyond::Java(outer)) => at = outer,
                    Some(Beyond::Nothing) => return (places, false),
                    None => return (places, true),
                }
                continue;
            }
            let before = at;
            let Some(next) = self.step(memory, heaps, at, &mut places) else {
                return (places, true);
            };
            // Callers lie further up.
            if next.sp <= before.sp {
                return (places, true);
            }
            at = next;
        }
        (places, true)
    }

    /// C code called Java here, and may itself have been called by Java.
    fn further_out(&self, memory: &mut Memory<'_>, at: At) -> Option<Beyond> {
        let wrapper = memory.word(word(at.fp, CALL_WRAPPER))?;
        let anchor = self.wrapper_anchor.place(wrapper)?;
        if self.anchor_sp.of(memory, anchor)? == 0 {
            return Some(Beyond::Nothing);
        }
        let outer = self.anchored(memory, anchor)?;
        (outer.sp > at.sp).then_some(Beyond::Java(outer))
    }

    fn step(
        &self,
        memory: &mut Memory<'_>,
        heaps: &[Heap],
        at: At,
        places: &mut Vec<Place>,
    ) -> Option<At> {
        let blob = self.cache.find(memory, heaps, at.pc)?;
        match blob.kind {
            Kind::Interpreter => {
                let method = memory.word(word(at.fp, METHOD))?;
                let bytecode = memory.word(word(at.fp, BYTECODE))?;
                places.push(self.methods.interpreted(memory, method, bytecode)?);
                return Some(At {
                    pc: memory.word(word(at.fp, 1))?,
                    sp: memory.word(word(at.fp, SENDER_SP))?,
                    fp: memory.word(at.fp)?,
                });
            }
            Kind::Compiled => {
                let pc = self.compiled.original(memory, blob, at.pc, at.sp)?;
                places.extend(self.compiled.places(memory, blob, pc)?);
            }
            Kind::NativeWrapper => places.push(self.compiled.native(memory, blob)?),
            Kind::Stub => {}
            // The way to frames that lie on the heap, among others: what follows is another's.
            Kind::Other => return None,
        }
        let sp = at
            .sp
            .checked_add(blob.frame_size)
            .filter(|_| blob.frame_size > 0)?;
        Some(At {
            pc: memory.word(sp.checked_sub(8)?)?,
            fp: memory.word(sp.checked_sub(16)?)?,
            sp,
        })
    }
}

fn word(from: u64, words: i64) -> u64 {
    from.wrapping_add_signed(words * 8)
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
