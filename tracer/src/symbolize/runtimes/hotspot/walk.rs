//! From frame to frame of a Java thread, innermost first. The words of its stack come from its memory while it waits,
//! or from a copy of a moment that has passed: then never from elsewhere.

use std::collections::HashMap;

use super::Hotspot;
use super::code_cache::{Blob, Heap, Kind};
use super::method::Place;
use crate::symbolize::runtimes::memory::Memory;

const MAX_FRAMES: usize = 128;
/// Of a thread that computes: expressions nest, and what is told lies outside of them.
const MAX_INTERRUPTED: usize = 2048;
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

/// The native method by which a thread calls the virtual one that it carries.
const ENTER: &str = "enterSpecial";

/// Registers of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
}

/// Where the words of a stack are.
#[derive(Clone, Copy)]
pub(super) enum Words<'s> {
    Live,
    /// What lies at `sp` and above. Where that ends the memory may be asked that is there now, if only to learn what
    /// holds for the code at any time.
    Copied {
        sp: u64,
        bytes: &'s [u8],
        or_live: bool,
    },
    /// On the heap, where what refers to a frame is a distance in words; up to where the frames end.
    OnHeap {
        end: u64,
    },
}

impl Words<'_> {
    pub(super) fn word(self, memory: &mut Memory<'_>, at: u64) -> Option<u64> {
        let Self::Copied { sp, bytes, or_live } = self else {
            return memory.word(at);
        };
        let copied = at.checked_sub(sp).and_then(|from| {
            let from = usize::try_from(from).ok()?;
            let bytes = bytes.get(from..from.checked_add(8)?)?;
            bytes.try_into().ok().map(u64::from_le_bytes)
        });
        copied.or_else(|| if or_live { memory.word(at) } else { None })
    }

    /// What the word at `at` refers to, which on the heap is counted from `from`.
    fn reference(self, memory: &mut Memory<'_>, at: u64, from: u64) -> Option<u64> {
        let word = self.word(memory, at)?;
        Some(match self {
            Self::OnHeap { .. } => from.wrapping_add(word.wrapping_mul(8)),
            Self::Live | Self::Copied { .. } => word,
        })
    }
}

#[derive(Default)]
pub(super) struct Walked {
    pub places: Vec<Place>,
    /// Addresses in code that has frames of one size, that size, and how far in the code's description they lie: 0 in
    /// code that is never thrown away.
    pub sizes: Vec<(u64, u64, u64)>,
    /// Where a virtual thread returns to frames on the heap: that address, and how far from the state of the thread that
    /// carries it is what leads there.
    pub barrier: Option<(u64, u32)>,
    /// Where the thread that carries a virtual one has called it.
    pub entered: Option<u64>,
    /// Outer frames are missing.
    pub truncated: bool,
}

/// Compiled code that was met on this stack, by address: functions that call themselves are met often.
type Known = HashMap<u64, (Blob, Vec<Place>)>;

/// What lies further out than C code that called Java.
enum Beyond {
    Java(At),
    Nothing,
}

impl Hotspot {
    /// Where Java was left; `None` when the thread is not in Java at all.
    pub(super) fn anchored(
        &self,
        memory: &mut Memory<'_>,
        anchor: u64,
        words: Words<'_>,
    ) -> Option<At> {
        let sp = self.anchor_sp.of(memory, anchor)?;
        if sp == 0 {
            return None;
        }
        let pc = match self.anchor_pc.of(memory, anchor)? {
            0 => words.word(memory, sp.checked_sub(8)?)?,
            pc => pc,
        };
        let fp = self.anchor_fp.of(memory, anchor)?;
        Some(At { pc, sp, fp })
    }

    pub(super) fn walk(
        &self,
        memory: &mut Memory<'_>,
        heaps: &[Heap],
        from: At,
        words: Words<'_>,
    ) -> Walked {
        let walked = Walked {
            truncated: true,
            ..Walked::default()
        };
        self.walk_on(memory, heaps, from, words, (walked, MAX_FRAMES))
    }

    /// From any instruction of made code. Of compiled code only places where it may be stopped are described, and what is
    /// inlined there need not be what was inlined here: the method that was compiled is certain, and where its frame is
    /// whole so is its caller. In its first and last instructions it is not: then what lies there is most often no code at
    /// all, and the walk does not come to the end of Java.
    pub(super) fn walk_interrupted(
        &self,
        memory: &mut Memory<'_>,
        heaps: &[Heap],
        from: At,
        words: Words<'_>,
    ) -> Option<Walked> {
        let mut walked = Walked {
            truncated: true,
            ..Walked::default()
        };
        let blob = self.cache.find(memory, heaps, from.pc)?;
        let next = match blob.kind {
            // Its frame pointer may still be the caller's.
            Kind::Interpreter => from,
            Kind::Compiled | Kind::NativeWrapper => {
                walked.places.push(self.compiled.native(memory, blob)?);
                match leave(memory, blob, from, words) {
                    Some(next) => next,
                    None => return Some(walked),
                }
            }
            Kind::Stub | Kind::Continuation | Kind::Other => return None,
        };
        Some(self.walk_on(memory, heaps, next, words, (walked, MAX_INTERRUPTED)))
    }

    fn walk_on(
        &self,
        memory: &mut Memory<'_>,
        heaps: &[Heap],
        from: At,
        words: Words<'_>,
        (mut walked, most): (Walked, usize),
    ) -> Walked {
        let mut at = from;
        let mut known = Known::new();
        for _ in 0..most {
            if let Words::OnHeap { end } = words
                && at.sp >= end
            {
                walked.truncated = false;
                return walked;
            }
            if at.pc == self.call_stub {
                match self.further_out(memory, at, words) {
                    Some(Beyond::Java(outer)) => at = outer,
                    Some(Beyond::Nothing) => {
                        walked.truncated = false;
                        return walked;
                    }
                    None => return walked,
                }
                continue;
            }
            let before = at;
            let Some(next) = self.step(memory, (heaps, &mut known), at, words, &mut walked) else {
                return walked;
            };
            // Callers lie further up.
            if next.sp <= before.sp {
                return walked;
            }
            at = next;
        }
        walked
    }

    /// C code called Java here, and may itself have been called by Java.
    fn further_out(&self, memory: &mut Memory<'_>, at: At, words: Words<'_>) -> Option<Beyond> {
        let wrapper = words.word(memory, word(at.fp, CALL_WRAPPER))?;
        let anchor = self.wrapper_anchor.place(wrapper)?;
        // The record lies on the stack as well.
        if words.word(memory, self.anchor_sp.place(anchor)?)? == 0 {
            return Some(Beyond::Nothing);
        }
        let sp = words.word(memory, self.anchor_sp.place(anchor)?)?;
        let pc = match words.word(memory, self.anchor_pc.place(anchor)?)? {
            0 => words.word(memory, sp.checked_sub(8)?)?,
            pc => pc,
        };
        let fp = words.word(memory, self.anchor_fp.place(anchor)?)?;
        (sp > at.sp).then_some(Beyond::Java(At { pc, sp, fp }))
    }

    fn step(
        &self,
        memory: &mut Memory<'_>,
        (heaps, known): (&[Heap], &mut Known),
        at: At,
        words: Words<'_>,
        walked: &mut Walked,
    ) -> Option<At> {
        if let Some((blob, places)) = known.get(&at.pc) {
            walked.places.extend_from_slice(places);
            return leave(memory, *blob, at, words);
        }
        let blob = self.cache.find(memory, heaps, at.pc)?;
        match blob.kind {
            Kind::Interpreter => {
                let method = words.word(memory, word(at.fp, METHOD))?;
                let bytecode = words.word(memory, word(at.fp, BYTECODE))?;
                let place = self.methods.interpreted(memory, method, bytecode)?;
                walked.places.push(place);
                return Some(At {
                    pc: words.word(memory, word(at.fp, 1))?,
                    sp: words.reference(memory, word(at.fp, SENDER_SP), at.fp)?,
                    fp: words.reference(memory, at.fp, at.fp)?,
                });
            }
            Kind::Compiled => {
                let kept = self.compiled.original(memory, blob, at.pc);
                let pc = if let Some(offset) = kept {
                    words.word(memory, at.sp.checked_add(offset)?)?
                } else {
                    let into = at.pc.checked_sub(blob.at)?;
                    walked.sizes.push((at.pc, blob.frame_size, into));
                    at.pc
                };
                let places = self.compiled.places(memory, blob, pc)?;
                walked.places.extend_from_slice(&places);
                if kept.is_none() {
                    known.insert(pc, (blob, places));
                }
            }
            Kind::NativeWrapper => {
                let place = self.compiled.native(memory, blob)?;
                // What follows is of the thread that carries a virtual one.
                if self.methods.is_called(memory, place.method, ENTER) {
                    walked.entered = Some(at.pc);
                    walked.truncated = false;
                    return None;
                }
                let into = at.pc.checked_sub(blob.at)?;
                walked.sizes.push((at.pc, blob.frame_size, into));
                walked.places.push(place);
            }
            Kind::Stub => walked.sizes.push((at.pc, blob.frame_size, 0)),
            Kind::Continuation => {
                let entry = entry_of_barrier(memory, at.pc);
                walked.barrier = entry.map(|entry| (at.pc, entry));
                return None;
            }
            Kind::Other => return None,
        }
        leave(memory, blob, at, words)
    }
}

fn leave(memory: &mut Memory<'_>, blob: Blob, at: At, words: Words<'_>) -> Option<At> {
    let size = Some(blob.frame_size).filter(|size| *size > 0)?;
    let sp = at.sp.checked_add(size)?;
    let saved_fp = sp.checked_sub(16)?;
    Some(At {
        pc: words.word(memory, sp.checked_sub(8)?)?,
        fp: words.reference(memory, saved_fp, saved_fp)?,
        sp,
    })
}

/// The first thing that is done where a virtual thread returns to frames on the heap: the stack pointer is set to what a field
/// of the thread's state leads to. How far into the state that is, which 21 does not tell otherwise.
fn entry_of_barrier(memory: &mut Memory<'_>, pc: u64) -> Option<u32> {
    /// `mov rsp, [r15 + …]`
    const LOAD: [u8; 3] = [0x49, 0x8b, 0xa7];
    const MAX_STATE: u32 = 1 << 14;
    let code: [u8; 7] = memory.array(pc)?;
    let (load, entry) = code.split_at(LOAD.len());
    let entry = entry.try_into().ok().map(u32::from_le_bytes)?;
    let is_field = entry != 0 && entry < MAX_STATE && entry.is_multiple_of(8);
    (load == LOAD && is_field).then_some(entry)
}

fn word(from: u64, words: i64) -> u64 {
    from.wrapping_add_signed(words * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_never_completed_by_what_is_there_now() {
        let mut fetch = |pages: &[u64]| vec![Some(vec![7_u8; 4096]); pages.len()];
        let mut memory = Memory::new(&mut fetch);
        let bytes = [1_u8; 16];
        let copied = |or_live| Words::Copied {
            sp: 0x10_0000,
            bytes: &bytes,
            or_live,
        };
        let (ones, sevens) = (
            Some(u64::from_le_bytes([1; 8])),
            Some(u64::from_le_bytes([7; 8])),
        );
        assert_eq!(copied(false).word(&mut memory, 0x10_0008), ones);
        assert_eq!(copied(false).word(&mut memory, 0x10_0009), None);
        assert_eq!(copied(false).word(&mut memory, 0xf_fff8), None);
        assert_eq!(copied(true).word(&mut memory, 0x10_0010), sevens);
        assert_eq!(Words::Live.word(&mut memory, 0x10_0000), sevens);
    }

    #[test]
    fn the_way_to_the_heap_is_told_by_its_first_instruction() {
        let code = |bytes: [u8; 7]| {
            let mut fetch = move |pages: &[u64]| {
                let mut page = vec![0x90; 4096];
                page[..7].copy_from_slice(&bytes);
                vec![Some(page); pages.len()]
            };
            entry_of_barrier(&mut Memory::new(&mut fetch), 0x7000)
        };
        assert_eq!(code([0x49, 0x8b, 0xa7, 0x30, 5, 0, 0]), Some(1328));
        assert_eq!(code([0x49, 0x8b, 0xa7, 0x31, 5, 0, 0]), None);
        assert_eq!(code([0x49, 0x8b, 0xa7, 0x30, 5, 1, 0]), None);
        assert_eq!(code([0x4d, 0x8b, 0xa7, 0x30, 5, 0, 0]), None);
    }
}
