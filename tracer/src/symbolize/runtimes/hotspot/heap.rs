//! The frames that virtual threads have on the heap (21 and later): in objects of `jdk.internal.vm.StackChunk`, which are found
//! by the names of their fields. Only with collectors that move nothing while the program runs.

use tracer_common::runtime::{Runtime, heap};

use super::fields::Fields;
use super::method::Methods;
use super::stream::Packing;
use super::tables::Tables;
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
const CLASS_SHIFT: u32 = 42;
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
    pub classes: Classes,
    pub collecting: u64,
}

/// How objects say their class.
#[derive(Clone, Copy)]
pub(super) struct Classes {
    /// The word that has it, in these bits, from that one on.
    pub at: u64,
    mask: u64,
    from: u32,
    /// What it is counted from, and how far it is shifted.
    base: u64,
    shift: u64,
    /// Where an array has its length.
    pub length: u64,
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
        let [stack, chunk] = known_classes(tables, methods, memory, [STACK, CHUNK])?;
        let fields = Fields::of(tables, packing)?;
        let mut place = |class, name| fields.place(memory, methods, class, name);
        let tail = place(stack, "tail")?;
        let parent = place(chunk, "parent")?;
        let sp = place(chunk, "sp")?;
        let bottom = place(chunk, "bottom")?;
        // The frames lie behind the fields, of which this is the size; the lowest bits mean something else.
        let words = tables.field("Klass", "_layout_helper")?.of(memory, chunk)? & !7;
        let (base, shift, unused) = if flags.narrow_references {
            let (base, shift) = scale(tables, memory, "CompressedOops", "_narrow_oop")?;
            (base, shift, 32)
        } else {
            (0, 0, 0)
        };
        let classes = Classes::of(tables, memory, &flags)?;
        let collected = tables.field("Universe", "_collectedHeap")?.of(memory, 0)?;
        let collecting = tables.field("CollectedHeap", "_is_stw_gc_active")?;
        Some(Self {
            places: heap::pack([tail, classes.at, parent, sp, bottom, words, shift, unused])?,
            base,
            chunk: classes.word(chunk)?,
            chunk_mask: classes.mask,
            classes,
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
        self.at(memory, object.checked_add(heap::place(self.places, place))?)
    }

    /// What the reference at this address refers to; 0 for nothing.
    pub(super) fn at(&self, memory: &mut Memory<'_>, at: u64) -> Option<u64> {
        let narrow = heap::place(self.places, heap::UNUSED) != 0;
        let word = if narrow {
            memory.half(at)?.into()
        } else {
            memory.word(at)?
        };
        Some(heap::address(self.places, self.base, word))
    }

    /// Bytes of a reference.
    pub(super) const fn size(&self) -> u64 {
        8 - (heap::place(self.places, heap::UNUSED) >> 3)
    }
}

impl Classes {
    fn of(tables: &Tables, memory: &mut Memory<'_>, flags: &Flags) -> Option<Self> {
        let wide = Self {
            at: CLASS,
            mask: u64::MAX,
            from: 0,
            base: 0,
            shift: 0,
            length: 16,
        };
        if !flags.narrow_classes {
            return Some(wide);
        }
        let (base, shift) = scale(tables, memory, "CompressedKlassPointers", "_narrow_klass")?;
        let narrow = Self {
            mask: u64::from(u32::MAX),
            base,
            shift,
            length: 12,
            ..wide
        };
        Some(if flags.class_in_first_word {
            Self {
                at: 0,
                mask: u64::MAX << CLASS_SHIFT,
                from: CLASS_SHIFT,
                length: 8,
                ..narrow
            }
        } else {
            narrow
        })
    }

    /// What objects of this class have in those bits.
    fn word(self, class: u64) -> Option<u64> {
        let number = class
            .checked_sub(self.base)?
            .checked_shr(self.shift as u32)?;
        Some(number << self.from)
    }

    pub(super) fn class(self, memory: &mut Memory<'_>, object: u64) -> Option<u64> {
        let word = memory.word(object.checked_add(self.at)?)? & self.mask;
        self.base.checked_add(word >> self.from << self.shift)
    }
}

/// Classes that the machine knows by name.
pub(super) fn known_classes<const N: usize>(
    tables: &Tables,
    methods: &Methods,
    memory: &mut Memory<'_>,
    names: [&str; N],
) -> Option<[u64; N]> {
    let known = tables.field("vmClasses", OBJECT)?.at;
    let mut found = [0; N];
    for number in 0..MAX_CLASSES {
        let class = memory.word(known.checked_add(number * 8)?)?;
        let name = methods.class(memory, class);
        let own = names.iter().position(|of| name.as_deref() == Some(*of));
        if let Some(place) = own.and_then(|own| found.get_mut(own)) {
            *place = class;
        }
        if found.iter().all(|class| *class != 0) {
            return Some(found);
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: OnHeap = OnHeap {
        // Tail 32; class 8, parent 40, beginning 24, end 28, frames from 48 on; references of 32 bits, shifted by 3.
        places: u64::from_le_bytes([32, 8, 40, 24, 28, 48, 3, 32]),
        base: 0,
        chunk: 0x1234_5678,
        chunk_mask: u32::MAX as u64,
        classes: Classes {
            at: 8,
            mask: u32::MAX as u64,
            from: 0,
            base: 0,
            shift: 0,
            length: 12,
        },
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
