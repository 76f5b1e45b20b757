//! Objects of V8's heap: each is believed to be what it should be only by its map, and that a map by its own. Whatever
//! does not prove itself is `None`.

use std::collections::HashMap;

use super::layout::Layout;
use crate::symbolize::runtimes::memory::{END, Memory};

/// For all sockets of a process, however its objects are linked.
const MAX_STEPS: u32 = 4_000_000;
/// Descriptors of a map have a field of ten bits.
const MAX_DICTIONARY: u64 = 16_384;
const MAX_KEY: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'k> {
    Name(&'k str),
    Symbol(&'k str),
}

pub(super) struct Heap<'h, 'm> {
    pub memory: &'h mut Memory<'m>,
    pub layout: &'h Layout,
    /// By the address of a map.
    kinds: HashMap<u64, Option<u16>>,
    /// Names and symbols that properties have: the second value says that it is a symbol.
    keys: HashMap<u64, Option<(String, bool)>>,
    steps: u32,
}

/// A pointer to an object, with its tag.
pub(super) const fn is_object(word: u64) -> bool {
    word & 7 == 1 && word > 0xffff && word < END
}

/// A small number.
pub(super) fn number(word: u64) -> Option<i32> {
    let number = i32::try_from(word.cast_signed() >> 32).ok()?;
    (word.trailing_zeros() >= 32).then_some(number)
}

impl<'h, 'm> Heap<'h, 'm> {
    pub(super) fn new(memory: &'h mut Memory<'m>, layout: &'h Layout) -> Self {
        Self {
            memory,
            layout,
            kinds: HashMap::new(),
            keys: HashMap::new(),
            steps: 0,
        }
    }

    /// Counts whatever could go on for ever.
    pub(super) fn step(&mut self) -> Option<()> {
        self.steps += 1;
        (self.steps < MAX_STEPS).then_some(())
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.steps >= MAX_STEPS
    }

    /// The word at an offset of an object.
    pub(super) fn field(&mut self, object: u64, offset: u64) -> Option<u64> {
        self.step()?;
        self.memory.word(place(object, offset)?)
    }

    /// The same of 4 bytes.
    pub(super) fn half(&mut self, object: u64, offset: u64) -> Option<u32> {
        self.step()?;
        self.memory.half(place(object, offset)?)
    }

    fn short(&mut self, object: u64, offset: u64) -> Option<u16> {
        self.step()?;
        let bytes = self.memory.array(place(object, offset)?)?;
        Some(u16::from_le_bytes(bytes))
    }

    fn byte(&mut self, object: u64, offset: u64) -> Option<u64> {
        self.step()?;
        let [byte] = self.memory.array(place(object, offset)?)?;
        Some(byte.into())
    }

    /// What type the object is of.
    pub(super) fn kind(&mut self, object: u64) -> Option<u16> {
        let map = self.map(object)?;
        if let Some(known) = self.kinds.get(&map) {
            return *known;
        }
        let at = self.layout.map.kind;
        let of_maps = self.map(map);
        let of_maps = of_maps.and_then(|of_maps| self.short(of_maps, at));
        let kind = (of_maps == Some(self.layout.types.map))
            .then(|| self.short(map, at))
            .flatten();
        self.kinds.insert(map, kind);
        kind
    }

    fn map(&mut self, object: u64) -> Option<u64> {
        if !is_object(object) {
            return None;
        }
        self.field(object, 0).filter(|map| is_object(*map))
    }

    pub(super) fn is(&mut self, object: u64, kind: u16) -> bool {
        self.kind(object) == Some(kind)
    }

    /// `true`, or `false`, or something else.
    pub(super) fn truth(&mut self, word: u64) -> Option<bool> {
        let kind = self.oddball(word)?;
        if kind == self.layout.is_true {
            return Some(true);
        }
        (kind == 0).then_some(false)
    }

    pub(super) fn is_nothing(&mut self, word: u64) -> bool {
        let nothing = [self.layout.is_undefined, self.layout.is_null];
        self.oddball(word)
            .is_some_and(|kind| nothing.contains(&kind))
    }

    fn oddball(&mut self, word: u64) -> Option<u32> {
        let (oddball, at) = (self.layout.types.oddball, self.layout.oddball_kind);
        if !self.is(word, oddball) {
            return None;
        }
        u32::try_from(number(self.field(word, at)?)?).ok()
    }

    /// Words of an API object that belong to the program it is embedded in.
    pub(super) fn embedder_fields(&mut self, object: u64) -> Option<Vec<u64>> {
        let map = self.map(object)?;
        let (first, start) = (
            self.layout.embedder,
            self.byte(map, self.layout.map.in_object)? * 8,
        );
        let fields = (first..start).step_by(8).take(8);
        fields.map(|offset| self.field(object, offset)).collect()
    }

    /// What own properties of the object hold, those that it has; `None` where its properties cannot be read.
    pub(super) fn properties<const N: usize>(
        &mut self,
        object: u64,
        wanted: [Key<'_>; N],
    ) -> Option<[Option<u64>; N]> {
        self.kind(object)?;
        let map = self.map(object)?;
        let bits = self.half(map, self.layout.map.bits)?;
        if bits >> self.layout.map.is_dictionary & 1 == 1 {
            self.in_dictionary(object, wanted)
        } else {
            self.in_fields(object, map, bits, wanted)
        }
    }

    fn in_fields<const N: usize>(
        &mut self,
        object: u64,
        map: u64,
        bits: u32,
        wanted: [Key<'_>; N],
    ) -> Option<[Option<u64>; N]> {
        let layout = self.layout;
        let own = (bits & layout.map.own_mask) >> layout.map.own_shift;
        let descriptors = self.field(map, layout.map.descriptors)?;
        let kind = self.kind(descriptors)?;
        // The number of those that are used is the second of two short ones.
        let used = self.short(descriptors, 10)?;
        if !layout.types.descriptors.contains(&kind) || own > used.into() {
            return None;
        }
        let start = self.byte(map, layout.map.in_object)?;
        let in_object = self.byte(map, layout.map.size)?.checked_sub(start)?;
        let mut found = [None; N];
        for number in 0..u64::from(own) {
            let at = layout.descriptors + number * 24;
            let key = self.field(descriptors, at)?;
            let Some(place) = self.wanted(key, &wanted) else {
                continue;
            };
            let details = self.field(descriptors, at + 8)?;
            let index = Self::field_index(layout, details)?;
            let value = match index.checked_sub(in_object) {
                None => self.field(object, (start + index) * 8)?,
                Some(outside) => {
                    let array = self.field(object, layout.properties)?;
                    if !self.is(array, layout.types.property_array) {
                        return None;
                    }
                    self.field(array, layout.array_data + outside * 8)?
                }
            };
            if let Some(found) = found.get_mut(place) {
                *found = Some(value);
            }
        }
        Some(found)
    }

    /// Of data that lies in the object and not in its description.
    fn field_index(layout: &Layout, details: u64) -> Option<u64> {
        /// `PropertyDetails::KindField`, `LocationField`.
        const ACCESSOR: u32 = 1;
        const IN_DESCRIPTOR: u32 = 1 << 5;
        let details = number(details)?.cast_unsigned();
        if details & (ACCESSOR | IN_DESCRIPTOR) != 0 {
            return None;
        }
        Some(u64::from(
            (details & layout.index_mask) >> layout.index_shift,
        ))
    }

    fn in_dictionary<const N: usize>(
        &mut self,
        object: u64,
        wanted: [Key<'_>; N],
    ) -> Option<[Option<u64>; N]> {
        let layout = self.layout;
        let table = self.field(object, layout.properties)?;
        let kind = self.kind(table)?;
        if kind == layout.types.swiss || kind == layout.types.property_array {
            return None;
        }
        let element = |number: u64| layout.array_data + number * 8;
        let length = u64::try_from(number(self.field(table, 8)?)?).ok()?;
        let elements = u64::try_from(number(self.field(table, element(0))?)?).ok()?;
        let capacity = u64::try_from(number(self.field(table, element(2))?)?).ok()?;
        let whole = capacity.is_power_of_two()
            && capacity <= MAX_DICTIONARY
            && elements <= capacity
            && length == layout.dictionary_prefix + capacity * 3;
        whole.then_some(())?;
        let mut found = [None; N];
        for entry in 0..capacity {
            let at = element(layout.dictionary_prefix + entry * 3);
            let key = self.field(table, at)?;
            let Some(place) = self.wanted(key, &wanted) else {
                continue;
            };
            let details = number(self.field(table, at + 16)?)?;
            let value = self.field(table, at + 8)?;
            if let Some(found) = found.get_mut(place).filter(|_| details & 1 == 0) {
                *found = Some(value);
            }
        }
        Some(found)
    }

    fn wanted<const N: usize>(&mut self, key: u64, wanted: &[Key<'_>; N]) -> Option<usize> {
        if !self.keys.contains_key(&key) {
            let read = self.key(key);
            self.keys.insert(key, read);
        }
        let known = self.keys.get(&key).and_then(Option::as_ref);
        let (name, is_symbol) = known?;
        wanted.iter().position(|wanted| match wanted {
            Key::Name(wanted) => !is_symbol && name == wanted,
            Key::Symbol(wanted) => *is_symbol && name == wanted,
        })
    }

    fn key(&mut self, key: u64) -> Option<(String, bool)> {
        let is_symbol = self.is(key, self.layout.types.symbol);
        let name = if is_symbol {
            self.field(key, self.layout.symbol_name)?
        } else {
            key
        };
        Some((self.text(name, MAX_KEY)?, is_symbol))
    }
}

fn place(object: u64, offset: u64) -> Option<u64> {
    object.checked_sub(1)?.checked_add(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_by_their_tags() {
        assert_eq!(number(7 << 32), Some(7));
        assert_eq!(number((-1_i64 << 32).cast_unsigned()), Some(-1));
        assert_eq!(number(7), None);
        assert_eq!(number(0), Some(0));
        assert!(is_object(0x10_0001));
        assert!(!is_object(0x10_0003), "a weak one");
        assert!(!is_object(1));
        assert!(!is_object(END + 1));
    }
}
