//! The frames that virtual threads have on the heap (21 and later): in objects of `jdk.internal.vm.StackChunk`, which are found
//! by the names of their fields. Only with collectors that move nothing while the program runs.

use tracer_common::runtime::{Runtime, heap};

use super::method::Methods;
use super::stream::Packing;
use super::tables::{Field, Tables};
use super::walk::At;
use crate::symbolize::runtimes::memory::Memory;

const STACK: &str = "jdk/internal/vm/Continuation";
const CHUNK: &str = "jdk/internal/vm/StackChunk";
/// Those that the machine knows by name; it has some hundred.
const MAX_CLASSES: u64 = 256;
const MAX_FLAGS: u64 = 4096;
/// Where objects say their class, if that is not in the first word.
const CLASS: u64 = 8;
/// And where the number of the class begins if it is.
const CLASS_SHIFT: u64 = 42;
/// In the record of a mounted virtual thread: the object of its stack.
const STACK_OBJECT: u64 = 16;
/// At the end of an object: what belongs to the frame that lies on the stack.
const BOTTOM: u64 = 16;
/// Objects that hold frames of one thread.
pub(super) const MAX_CHUNKS: usize = 16;

pub(super) struct OnHeap {
    /// See [`heap`].
    pub places: u64,
    pub base: u64,
    pub chunk: u64,
    pub chunk_mask: u64,
    pub collecting: u64,
}

/// Frames in one object: the innermost, and where they end.
pub(super) struct Chunk {
    pub first: At,
    pub end: u64,
    pub outer: u64,
}

impl OnHeap {
    pub(super) fn of(
        tables: &Tables,
        methods: &Methods,
        packing: Packing,
        memory: &mut Memory<'_>,
    ) -> Option<Self> {
        let flags = Flags::read(tables, memory)?;
        if !flags.collects_in_pauses {
            return None;
        }
        let known = tables.field("vmClasses", OBJECT)?.at;
        let (mut stack, mut chunk) = (None, None);
        for number in 0..MAX_CLASSES {
            let class = memory.word(known.checked_add(number * 8)?)?;
            match methods.class(memory, class).as_deref() {
                Some(STACK) => stack = Some(class),
                Some(CHUNK) => chunk = Some(class),
                _ => {}
            }
            if stack.is_some() && chunk.is_some() {
                break;
            }
        }
        let (stack, chunk) = (stack?, chunk?);
        let of_stack = Fields::of(tables, packing, memory, stack)?;
        let of_chunk = Fields::of(tables, packing, memory, chunk)?;
        let mut place = |of: &Fields, name| of.place(memory, methods, name);
        let tail = place(&of_stack, "tail")?;
        let parent = place(&of_chunk, "parent")?;
        let sp = place(&of_chunk, "sp")?;
        let bottom = place(&of_chunk, "bottom")?;
        // The frames lie behind the fields, of which this is the size; the lowest bits mean something else.
        let words = tables.field("Klass", "_layout_helper")?.of(memory, chunk)? & !7;
        let (base, shift, unused) = if flags.narrow_references {
            let (base, shift) = scale(tables, memory, "CompressedOops", "_narrow_oop")?;
            (base, shift, 32)
        } else {
            (0, 0, 0)
        };
        let (at, chunk, chunk_mask) = if flags.narrow_classes {
            let (base, shift) = scale(tables, memory, "CompressedKlassPointers", "_narrow_klass")?;
            let number = chunk.checked_sub(base)?.checked_shr(shift as u32)?;
            if flags.class_in_first_word {
                (0, number << CLASS_SHIFT, u64::MAX << CLASS_SHIFT)
            } else {
                (CLASS, number, u64::from(u32::MAX))
            }
        } else {
            (CLASS, chunk, u64::MAX)
        };
        let collected = tables.field("Universe", "_collectedHeap")?.of(memory, 0)?;
        let collecting = tables.field("CollectedHeap", "_is_stw_gc_active")?;
        Some(Self {
            places: heap::pack([tail, at, parent, sp, bottom, words, shift, unused])?,
            base,
            chunk,
            chunk_mask,
            collecting: collecting.place(collected)?,
        })
    }

    /// Where the kernel program finds them.
    pub(super) fn to_note(&self) -> Runtime {
        Runtime {
            heap: self.places,
            heap_base: self.base,
            chunk: self.chunk,
            chunk_mask: self.chunk_mask,
            collecting: self.collecting,
            ..Runtime::BLANK
        }
    }

    /// The innermost object with frames of the virtual thread that this word of a thread's state leads to; 0 where there is
    /// none.
    pub(super) fn innermost(&self, memory: &mut Memory<'_>, entry: u64) -> Option<u64> {
        let record = memory.word(entry).filter(|record| *record != 0)?;
        let stack = memory.word(record.checked_add(STACK_OBJECT)?)?;
        self.reference(memory, stack, heap::TAIL)
    }

    pub(super) fn chunk(&self, memory: &mut Memory<'_>, at: u64) -> Option<Chunk> {
        let place = |of| at.checked_add(heap::place(self.places, of));
        if memory.word(place(heap::CLASS)?)? & self.chunk_mask != self.chunk {
            return None;
        }
        let words = place(heap::WORDS)?;
        let sp = words.checked_add(u64::from(memory.half(place(heap::SP)?)?) * 8)?;
        let end = words.checked_add(u64::from(memory.half(place(heap::BOTTOM)?)?) * 8)?;
        let below = sp.checked_sub(16)?;
        Some(Chunk {
            first: At {
                sp,
                pc: memory.word(sp.checked_sub(8)?)?,
                fp: below.wrapping_add(memory.word(below)?.wrapping_mul(8)),
            },
            end: end.checked_sub(BOTTOM)?,
            outer: self.reference(memory, at, heap::PARENT)?,
        })
    }

    /// Whether this object stays where it was found to be.
    pub(super) fn is_still(&self, memory: &mut Memory<'_>, entry: u64, innermost: u64) -> bool {
        let record = memory.word(entry).unwrap_or(0);
        let stack = memory.word(record.wrapping_add(STACK_OBJECT)).unwrap_or(0);
        let tail = stack.wrapping_add(heap::place(self.places, heap::TAIL));
        let read_again = [
            self.collecting,
            entry,
            record.wrapping_add(STACK_OBJECT),
            tail,
        ];
        for at in read_again {
            memory.forget(at);
        }
        self.innermost(memory, entry) == Some(innermost)
            && memory.array(self.collecting) == Some([0])
    }

    fn reference(&self, memory: &mut Memory<'_>, object: u64, place: u32) -> Option<u64> {
        let at = object.checked_add(heap::place(self.places, place))?;
        let word = memory.word(at)?;
        Some(heap::address(self.places, self.base, word))
    }
}

const OBJECT: &str = "_klasses[static_cast<int>(vmClassID::Object_klass_knum)]";

/// Numbers that stand for addresses: what they are counted from, and how far they are shifted.
fn scale(tables: &Tables, memory: &mut Memory<'_>, of: &str, before: &str) -> Option<(u64, u64)> {
    let field = |name: &str| {
        let own = tables.field(of, name);
        own.or_else(|| tables.field(of, &format!("{before}.{name}")))
    };
    let (base, shift) = (field("_base")?, field("_shift")?);
    let shift = shift.of(memory, 0)?;
    Some((base.of(memory, 0)?, shift)).filter(|_| shift < 16)
}

/// How the machine was started, or what it chose.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "so the machine has them")]
struct Flags {
    collects_in_pauses: bool,
    narrow_references: bool,
    narrow_classes: bool,
    class_in_first_word: bool,
}

impl Flags {
    fn read(tables: &Tables, memory: &mut Memory<'_>) -> Option<Self> {
        let all = tables.field("JVMFlag", "flags")?.of(memory, 0)?;
        let count = tables.field("JVMFlag", "numFlags")?.of(memory, 0)?;
        let (name, value) = (
            tables.field("JVMFlag", "_name")?,
            tables.field("JVMFlag", "_addr")?,
        );
        let size = tables.size("JVMFlag")?;
        let mut flags = Self::default();
        for number in 0..count.min(MAX_FLAGS) {
            let flag = all.checked_add(number * size)?;
            // The last of them has no name.
            let name = match name.of(memory, flag)? {
                0 => break,
                name => memory.string(name, 128)?,
            };
            let known = match name.as_str() {
                "UseG1GC" | "UseSerialGC" | "UseParallelGC" => &mut flags.collects_in_pauses,
                "UseCompressedOops" => &mut flags.narrow_references,
                "UseCompressedClassPointers" => &mut flags.narrow_classes,
                "UseCompactObjectHeaders" => &mut flags.class_in_first_word,
                _ => continue,
            };
            let value = value.of(memory, flag)?;
            *known |= memory.array(value)? != [0];
        }
        Some(flags)
    }
}

/// Of a class: a packed list of what its fields are called and where they are.
struct Fields {
    pool: u64,
    /// The number of the name, and the place.
    all: Vec<(u64, u64)>,
}

impl Fields {
    fn of(tables: &Tables, packing: Packing, memory: &mut Memory<'_>, class: u64) -> Option<Self> {
        const MAX_BYTES: u64 = 4096;
        let list = tables.field("InstanceKlass", "_fieldinfo_stream")?;
        let list = list.of(memory, class)?;
        let length: Field = tables.field("Array<int>", "_length")?;
        let length = length.of(memory, list)?.min(MAX_BYTES);
        let data = tables.field("Array<u1>", "_data")?.place(list)?;
        let bytes = memory.bytes(data, length as usize)?;
        Some(Self {
            pool: tables
                .field("InstanceKlass", "_constants")?
                .of(memory, class)?,
            all: super::stream::fields(&bytes, packing)?,
        })
    }

    fn place(&self, memory: &mut Memory<'_>, methods: &Methods, name: &str) -> Option<u64> {
        let mut all = self.all.iter();
        let found = all.find(|(of, _)| {
            let own = methods.entry(memory, self.pool, *of);
            own.as_deref() == Some(name)
        });
        found.map(|(_, place)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: OnHeap = OnHeap {
        // Tail 32; class 8, parent 40, beginning 24, end 28, frames from 48 on; references of 32 bits, shifted by 3.
        places: u64::from_le_bytes([32, 8, 40, 24, 28, 48, 3, 32]),
        base: 0,
        chunk: 0x1234_5678,
        chunk_mask: u32::MAX as u64,
        collecting: 0x9000,
    };

    #[test]
    fn an_object_with_frames_says_where_they_are() {
        let mut fetch = |pages: &[u64]| {
            let page = |page: &u64| {
                let mut bytes = vec![0; 4096];
                let mut put = |at: usize, word: u64| {
                    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                };
                match page {
                    // The record, the stack's object, and the one with frames.
                    0x1000 => {
                        put(0x100, 0x1200);
                        put(0x210, 0x1300);
                        put(0x320, 0x2000 >> 3 | 0xff << 32);
                    }
                    0x2000 => {
                        put(8, 0xff_1234_5678);
                        put(24, 0x64_0000_000a);
                        put(40, 0x3000 >> 3);
                        // Return address and distance to the frame, below the tenth word.
                        put(48 + 72, 0xabcd);
                        put(48 + 64, 5);
                    }
                    _ => {}
                }
                Some(bytes)
            };
            pages.iter().map(page).collect()
        };
        let mut memory = Memory::new(&mut fetch);
        assert_eq!(FRAMES.innermost(&mut memory, 0x1100), Some(0x2000));
        assert_eq!(FRAMES.innermost(&mut memory, 0x1108), None, "not mounted");
        let chunk = FRAMES.chunk(&mut memory, 0x2000).unwrap();
        let At { pc, sp, fp } = chunk.first;
        assert_eq!([pc, sp, fp], [0xabcd, 0x2080, 0x2070 + 5 * 8]);
        assert_eq!(chunk.end, 0x2030 + 800 - 16);
        assert_eq!(chunk.outer, 0x3000);
        assert!(FRAMES.chunk(&mut memory, 0x3000).is_none(), "another class");
        assert!(FRAMES.is_still(&mut memory, 0x1100, 0x2000));
        assert!(!FRAMES.is_still(&mut memory, 0x1100, 0x2008), "moved");
    }

    #[test]
    fn while_objects_are_moved_nothing_is_known() {
        let mut fetch = |pages: &[u64]| vec![Some(vec![1; 4096]); pages.len()];
        let mut memory = Memory::new(&mut fetch);
        let innermost = FRAMES.innermost(&mut memory, 0x1100).unwrap_or(0);
        assert!(!FRAMES.is_still(&mut memory, 0x1100, innermost));
    }
}
