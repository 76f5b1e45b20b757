//! The code that HotSpot makes: which piece of it an address is in, and what kind of piece that is.

use std::ops::Range;

use super::tables::{Field, Tables};
use crate::symbolize::runtimes::memory::Memory;

const MAX_HEAPS: u64 = 16;
/// Steps back to the start of a block: each is at most 254 segments.
const MAX_STEPS: usize = 4096;
const MAX_NAME: usize = 64;

pub(super) struct CodeCache {
    heaps: Field,
    length: Field,
    data: Field,
    low: Field,
    high: Field,
    low_boundary: Field,
    high_boundary: Field,
    memory: Field,
    segments: Field,
    segment_size: Field,
    block_size: u64,
    block_used: Field,
    blob: Blobs,
}

struct Blobs {
    name: Field,
    size: Field,
    frame_size: Field,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Interpreter,
    /// Compiled from a method.
    Compiled,
    /// The way from a compiled caller to a native method.
    NativeWrapper,
    /// Of the virtual machine, with a frame of known size.
    Stub,
    /// By which virtual threads come to frames that lie on the heap, among others.
    Continuation,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub at: u64,
    pub kind: Kind,
    pub size: u64,
    /// In bytes.
    pub frame_size: u64,
}

/// The part of the cache that exists now.
pub(super) struct Heap {
    low: u64,
    high: u64,
    /// What is set aside for it.
    reserved: Range<u64>,
    segments: u64,
    segment_shift: u64,
}

impl CodeCache {
    pub(super) fn of(tables: &Tables) -> Option<Self> {
        let growable = |name| {
            tables
                .field("GrowableArrayBase", name)
                .or_else(|| tables.field("GenericGrowableArray", name))
        };
        Some(Self {
            heaps: tables.field("CodeCache", "_heaps")?,
            length: growable("_len")?,
            data: tables.field("GrowableArray<int>", "_data")?,
            low: tables.field("VirtualSpace", "_low")?,
            high: tables.field("VirtualSpace", "_high")?,
            low_boundary: tables.field("VirtualSpace", "_low_boundary")?,
            high_boundary: tables.field("VirtualSpace", "_high_boundary")?,
            memory: tables.field("CodeHeap", "_memory")?,
            segments: tables.field("CodeHeap", "_segmap")?,
            segment_size: tables.field("CodeHeap", "_log2_segment_size")?,
            block_size: tables.size("HeapBlock")?,
            block_used: tables.field("HeapBlock::Header", "_used")?,
            blob: Blobs {
                name: tables.field("CodeBlob", "_name")?,
                size: tables.field("CodeBlob", "_size")?,
                frame_size: tables.field("CodeBlob", "_frame_size")?,
            },
        })
    }

    pub(super) fn heaps(&self, memory: &mut Memory<'_>) -> Option<Vec<Heap>> {
        let array = self.heaps.of(memory, 0)?;
        let count = self.length.of(memory, array)?.min(MAX_HEAPS);
        let data = self.data.of(memory, array)?;
        let mut heaps = Vec::new();
        for number in 0..count {
            let heap = memory.word(data.checked_add(number * 8)?)?;
            let (space, segments) = (self.memory.place(heap)?, self.segments.place(heap)?);
            heaps.push(Heap {
                low: self.low.of(memory, space)?,
                high: self.high.of(memory, space)?,
                reserved: self.low_boundary.of(memory, space)?
                    ..self.high_boundary.of(memory, space)?,
                segments: self.low.of(memory, segments)?,
                segment_shift: self.segment_size.of(memory, heap)?,
            });
        }
        Some(heaps)
    }

    /// From the first to the last byte that code can be at.
    pub(super) fn range(heaps: &[Heap]) -> Option<Range<u64>> {
        let start = heaps.iter().map(|heap| heap.reserved.start).min()?;
        let end = heaps.iter().map(|heap| heap.reserved.end).max()?;
        (start != 0 && start < end).then_some(start..end)
    }

    /// The piece of code at `pc`, if there is one in use.
    pub(super) fn find(&self, memory: &mut Memory<'_>, heaps: &[Heap], pc: u64) -> Option<Blob> {
        const FREE: u8 = 0xff;
        let heap = heaps
            .iter()
            .find(|heap| (heap.low..heap.high).contains(&pc))?;
        if heap.segment_shift > 16 {
            return None;
        }
        let mut segment = (pc - heap.low) >> heap.segment_shift;
        let mut begins = false;
        for _ in 0..MAX_STEPS {
            match memory.array(heap.segments.checked_add(segment)?)? {
                [FREE] => return None,
                [0] => {
                    begins = true;
                    break;
                }
                [back] => segment = segment.checked_sub(back.into())?,
            }
        }
        let block = heap.low.checked_add(segment << heap.segment_shift)?;
        if !begins || self.block_used.of(memory, block)? != 1 {
            return None;
        }
        let at = block.checked_add(self.block_size)?;
        let blob = self.describe(memory, at)?;
        (at..at.checked_add(blob.size)?)
            .contains(&pc)
            .then_some(blob)
    }

    fn describe(&self, memory: &mut Memory<'_>, at: u64) -> Option<Blob> {
        let name = self.blob.name.of(memory, at)?;
        let name = memory.string(name, MAX_NAME).unwrap_or_default();
        let frame_words = self.blob.frame_size.of(memory, at)?;
        Some(Blob {
            at,
            kind: kind(&name),
            size: self.blob.size.of(memory, at)?,
            frame_size: frame_words.checked_mul(8).filter(|size| *size < 1 << 24)?,
        })
    }
}

fn kind(name: &str) -> Kind {
    match name {
        "nmethod" => Kind::Compiled,
        "native nmethod" => Kind::NativeWrapper,
        "Interpreter" => Kind::Interpreter,
        _ if name.starts_with("StubRoutines (continuation") => Kind::Continuation,
        _ if name.starts_with("RuntimeStub") || name.contains("Blob") => Kind::Stub,
        _ => Kind::Other,
    }
}
