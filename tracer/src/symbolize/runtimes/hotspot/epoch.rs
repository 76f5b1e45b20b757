//! Where a number is that is another one as soon as a class is unloaded: until then no method can have taken another
//! one's place. The machine counts unloaded classes in its performance data.

use super::tables::Tables;
use crate::symbolize::runtimes::memory::Memory;

const COUNTER: &str = "java.cls.unloadedClasses";
const MAGIC: u32 = 0xc0c0_feca;
const FIRST_ENTRY: u64 = 24;
const ENTRIES: u64 = 28;
const MAX_ENTRIES: u32 = 4096;

/// Where the machine keeps no such data it is the number of collections: a class is unloaded after one has begun.
pub(super) fn find(tables: &Tables, memory: &mut Memory<'_>) -> Option<u64> {
    let collections = |memory: &mut Memory<'_>| {
        let heap = tables.field("Universe", "_collectedHeap")?.of(memory, 0)?;
        tables
            .field("CollectedHeap", "_total_collections")?
            .place(heap)
    };
    unloaded(tables, memory).or_else(|| collections(memory))
}

fn unloaded(tables: &Tables, memory: &mut Memory<'_>) -> Option<u64> {
    let start = tables.field("PerfMemory", "_start")?.of(memory, 0)?;
    if memory.half(start)? != MAGIC {
        return None;
    }
    let mut entry = start.checked_add(memory.half(start + FIRST_ENTRY)?.into())?;
    let count = memory.half(start + ENTRIES)?.min(MAX_ENTRIES);
    for _ in 0..count {
        let [length, name, _, _, data] = half_words(memory, entry)?;
        if memory
            .string(entry.checked_add(name.into())?, 64)
            .as_deref()
            == Some(COUNTER)
        {
            return entry.checked_add(data.into());
        }
        if length == 0 {
            return None;
        }
        entry = entry.checked_add(length.into())?;
    }
    None
}

/// Length, place of the name, length of vectors, kind, place of the data.
fn half_words(memory: &mut Memory<'_>, entry: u64) -> Option<[u32; 5]> {
    let bytes: [u8; 20] = memory.array(entry)?;
    let mut words = [0; 5];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Some(words)
}
