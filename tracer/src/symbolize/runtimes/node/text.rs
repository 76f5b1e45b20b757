//! Strings of V8: flat, joined of two, part of another, replaced by another, and kept outside of the heap.

use super::heap::{Heap, is_object, number};

/// Pieces of which one string is made.
const MAX_PIECES: usize = 128;

/// `StringRepresentationTag`, in all releases; and the bit of one-byte characters.
const REPRESENTATION: u16 = 7;
const FLAT: u16 = 0;
const JOINED: u16 = 1;
const EXTERNAL: u16 = 2;
const PART: u16 = 3;
const REPLACED: u16 = 5;
const ONE_BYTE: u16 = 8;
/// Types from here on are no strings.
const NO_STRING: u16 = 128;

/// Where a string's characters lie as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flat {
    pub at: u64,
    pub length: u64,
    pub wide: bool,
}

impl Heap<'_, '_> {
    pub(super) fn is_text(&mut self, object: u64) -> bool {
        self.kind(object).is_some_and(|kind| kind < NO_STRING)
    }

    /// At most so many characters; a longer string is cut.
    pub(super) fn text(&mut self, object: u64, limit: usize) -> Option<String> {
        let mut units: Vec<u16> = Vec::new();
        let mut pieces = vec![(object, 0_u64, limit as u64)];
        let mut seen = 0;
        while let Some((object, from, count)) = pieces.pop() {
            seen += 1;
            if seen > MAX_PIECES {
                return None;
            }
            let kind = self.kind(object).filter(|kind| *kind < NO_STRING)?;
            let length = u64::from(self.half(object, self.layout.length)?);
            let count = count
                .min(length.checked_sub(from)?)
                .min((limit - units.len()) as u64);
            if count == 0 {
                continue;
            }
            match kind & REPRESENTATION {
                JOINED => {
                    let (first, second) = (self.field(object, 16)?, self.field(object, 24)?);
                    let of_first = u64::from(self.half(first, self.layout.length)?);
                    let in_first = of_first.saturating_sub(from).min(count);
                    let skipped = from.saturating_sub(of_first);
                    pieces.push((second, skipped, count - in_first));
                    pieces.push((first, from.min(of_first), in_first));
                }
                PART => {
                    let offset = number(self.field(object, 24)?)?;
                    let offset = u64::try_from(offset).ok()?;
                    let parent = self.field(object, 16)?;
                    pieces.push((parent, offset.checked_add(from)?, count));
                }
                REPLACED => pieces.push((self.field(object, 16)?, from, count)),
                _ => {
                    let flat = self.flat(object)?;
                    self.append(flat, from, count, &mut units)?;
                }
            }
        }
        Some(String::from_utf16_lossy(&units))
    }

    /// `None` for what is made of several.
    pub(super) fn flat(&mut self, object: u64) -> Option<Flat> {
        let kind = self.kind(object).filter(|kind| *kind < NO_STRING)?;
        let length = u64::from(self.half(object, self.layout.length)?);
        let wide = kind & ONE_BYTE == 0;
        let at = match kind & REPRESENTATION {
            FLAT => (object - 1).checked_add(self.layout.chars)?,
            EXTERNAL => self.outside(object, length)?,
            REPLACED => {
                let other = self.field(object, 16)?;
                let kind = self.kind(other)?;
                (kind & REPRESENTATION != REPLACED).then_some(())?;
                return self.flat(other);
            }
            _ => return None,
        };
        Some(Flat { at, length, wide })
    }

    /// Node's own resources (`ExternString` of `string_bytes.cc`) have virtual functions, isolate, characters, length.
    fn outside(&mut self, object: u64, length: u64) -> Option<u64> {
        let resource = self.field(object, self.layout.external)?;
        if is_object(resource) || !resource.is_multiple_of(8) {
            return None;
        }
        let characters = self.memory.word(resource.checked_add(16)?)?;
        let same = self.field(object, self.layout.external + 8)? == characters
            && self.memory.word(resource.checked_add(24)?)? == length;
        same.then_some(characters)
    }

    fn append(&mut self, flat: Flat, from: u64, count: u64, units: &mut Vec<u16>) -> Option<()> {
        let size = if flat.wide { 2 } else { 1 };
        let at = flat.at.checked_add(from.checked_mul(size)?)?;
        let bytes = self
            .memory
            .bytes(at, usize::try_from(count.checked_mul(size)?).ok()?)?;
        if flat.wide {
            let words = bytes.as_chunks::<2>().0.iter();
            units.extend(words.map(|unit| u16::from_le_bytes(*unit)));
        } else {
            units.extend(bytes.iter().map(|byte| u16::from(*byte)));
        }
        Some(())
    }
}
