//! Objects of CPython 3.11 to 3.13: types, dictionaries, sets, and what the attributes of an object refer to. Without
//! calling anything: by the places of the releases' headers, and nothing is believed that is not of its type.

use std::collections::HashMap;
use std::rc::Rc;

use super::layout::Layout;
use super::text;
use crate::symbolize::runtimes::memory::{END, Memory};

const TYPE: u64 = 8;
/// Of a type: `tp_name`, `tp_basicsize`, `tp_flags`, `tp_base`, `tp_dictoffset`.
const NAME: u64 = 24;
const BASIC_SIZE: u64 = 32;
const FLAGS: u64 = 168;
const BASE: u64 = 256;
const DICT_OFFSET: u64 = 288;
const INLINE_VALUES: u64 = 1 << 2;
const MANAGED_DICT: u64 = 1 << 4;
const HEAP_TYPE: u64 = 1 << 9;
/// Subclasses of int, list, tuple, bytes, str, dict, exceptions and type.
const BUILTIN: u64 = 0xff << 24;
const IS_A_TYPE: u64 = 1 << 31;
const MAX_NAME: usize = 128;
const MAX_BASES: usize = 8;
/// Attributes of one object, entries of one dictionary or set.
const MAX_ATTRIBUTES: u64 = 128;
const MAX_ENTRIES: u64 = 65_536;

/// How a release keeps the attributes of an object without a dictionary of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attributes {
    /// A pointer to them four words before it, one to a dictionary three words before.
    Apart,
    /// One pointer, three words before: to either, told apart by its lowest bit.
    Either,
    /// Behind the object itself.
    Inline,
}

#[derive(Debug)]
pub(super) struct Type {
    pub name: String,
    size: u64,
    flags: u64,
    dict_offset: u64,
    pub is_socket: bool,
}

impl Type {
    /// Made by a class statement: types of C code have their module in their name.
    pub(super) fn is_class(&self) -> bool {
        self.flags & HEAP_TYPE != 0 && !self.name.contains('.') && !self.is_builtin()
    }

    pub(super) fn is_builtin(&self) -> bool {
        self.flags & BUILTIN != 0
    }

    pub(super) fn size(&self) -> u64 {
        self.size.min(MAX_ATTRIBUTES * 8)
    }
}

/// Types by address: there are few.
#[derive(Default)]
pub(super) struct Types(HashMap<u64, Option<Rc<Type>>>);

impl Types {
    pub(super) fn of(&mut self, memory: &mut Memory<'_>, object: u64) -> Option<Rc<Type>> {
        let at = memory.word(object.checked_add(TYPE)?)?;
        if let Some(known) = self.0.get(&at) {
            return known.clone();
        }
        let read = read_type(memory, at).map(Rc::new);
        self.0.insert(at, read.clone());
        read
    }
}

pub(super) const fn is_pointer(word: u64) -> bool {
    word > 0xffff && word < END && word.is_multiple_of(8)
}

fn read_type(memory: &mut Memory<'_>, at: u64) -> Option<Type> {
    let mut word = |at: u64, offset: u64| memory.word(at.checked_add(offset)?);
    let of = word(at, TYPE)?;
    if word(of, FLAGS)? & IS_A_TYPE == 0 {
        return None;
    }
    let (size, flags, dict_offset) = (
        word(at, BASIC_SIZE)?,
        word(at, FLAGS)?,
        word(at, DICT_OFFSET)?,
    );
    let name = word(at, NAME)?;
    let name = memory.string(name, MAX_NAME)?;
    let mut is_socket = false;
    let mut base = at;
    for _ in 0..MAX_BASES {
        let known = memory.word(base.checked_add(NAME)?)?;
        if memory.string(known, MAX_NAME).as_deref() == Some("_socket.socket") {
            is_socket = true;
            break;
        }
        base = memory.word(base.checked_add(BASE)?)?;
        if base == 0 {
            break;
        }
    }
    Some(Type {
        name,
        size,
        flags,
        dict_offset,
        is_socket,
    })
}

/// What an object of a class refers to by its attributes, in no order.
pub(super) fn attributes(
    memory: &mut Memory<'_>,
    how: Attributes,
    kind: &Type,
    object: u64,
) -> Vec<u64> {
    let mut found = words(
        memory,
        object.wrapping_add(16),
        kind.size().saturating_sub(16) / 8,
    );
    let more = if kind.flags & MANAGED_DICT != 0 {
        managed(memory, how, kind, object)
    } else if kind.dict_offset != 0 && kind.dict_offset < kind.size() {
        let dict = memory.word(object.wrapping_add(kind.dict_offset));
        dict.map(|dict| values(memory, how, dict))
    } else {
        None
    };
    found.extend(more.unwrap_or_default());
    found.retain(|word| is_pointer(*word));
    found
}

fn managed(memory: &mut Memory<'_>, how: Attributes, kind: &Type, object: u64) -> Option<Vec<u64>> {
    let before = memory.word(object.checked_sub(24)?)?;
    match how {
        Attributes::Apart => {
            let apart = memory.word(object.checked_sub(32)?)?;
            Some(if apart == 0 {
                values(memory, how, before)
            } else {
                prefixed(memory, apart)
            })
        }
        Attributes::Either if before & 1 != 0 => Some(prefixed(memory, before.wrapping_add(1))),
        Attributes::Inline if before == 0 && kind.flags & INLINE_VALUES != 0 => {
            Some(inline(memory, object.checked_add(kind.size)?))
        }
        Attributes::Either | Attributes::Inline => Some(values(memory, how, before)),
    }
}

/// `PyDictValues` to 3.12: before them how many are set, and which.
fn prefixed(memory: &mut Memory<'_>, at: u64) -> Vec<u64> {
    let count = at.checked_sub(2).and_then(|at| memory.array(at));
    let count = count.map_or(0, |[count]: [u8; 1]| u64::from(count));
    let order = (0..count.min(MAX_ATTRIBUTES)).filter_map(|number| {
        let [index] = memory.array(at.checked_sub(3 + number)?)?;
        memory.word(at.checked_add(u64::from(index) * 8)?)
    });
    order.collect()
}

/// Since 3.13: their room in the first byte.
fn inline(memory: &mut Memory<'_>, at: u64) -> Vec<u64> {
    let [room] = memory.array(at).unwrap_or([0]);
    words(
        memory,
        at.wrapping_add(8),
        u64::from(room).min(MAX_ATTRIBUTES),
    )
}

fn words(memory: &mut Memory<'_>, at: u64, count: u64) -> Vec<u64> {
    let words = (0..count.min(MAX_ATTRIBUTES)).map(|number| at.wrapping_add(number * 8));
    words.filter_map(|at| memory.word(at)).collect()
}

fn values(memory: &mut Memory<'_>, how: Attributes, dict: u64) -> Vec<u64> {
    let Some(split) = is_pointer(dict)
        .then(|| memory.word(dict.wrapping_add(40)))
        .flatten()
    else {
        return Vec::new();
    };
    match (split, how) {
        (0, _) => {
            let entries = entries(memory, dict, MAX_ATTRIBUTES).unwrap_or_default();
            entries.into_iter().map(|(_, value)| value).collect()
        }
        (split, Attributes::Inline) => inline(memory, split),
        (split, _) => prefixed(memory, split),
    }
}

/// Keys and values of a dictionary that is not one object's attributes.
fn entries(memory: &mut Memory<'_>, dict: u64, most: u64) -> Option<Vec<(u64, u64)>> {
    const GENERAL: u8 = 0;
    const INDICES: u64 = 32;
    let keys = memory.word(dict.checked_add(32)?)?;
    let [_, index_bytes, kind, _]: [u8; 4] = memory.array(keys.checked_add(8)?)?;
    let count = memory.word(keys.checked_add(24)?)?;
    if index_bytes > 32 || count > most {
        return None;
    }
    let (width, key) = if kind == GENERAL { (24, 8) } else { (16, 0) };
    let first = keys.checked_add(INDICES + (1 << index_bytes))?;
    memory.want((first..first.checked_add(count * width)?).step_by(4096));
    let entry = |number: u64| {
        let at = first + number * width + key;
        Some((memory.word(at)?, memory.word(at + 8)?))
    };
    let all: Vec<(u64, u64)> = (0..count).filter_map(entry).collect();
    Some(
        all.into_iter()
            .filter(|(key, value)| is_pointer(*key) && *value != 0)
            .collect(),
    )
}

/// What a dictionary has under this name.
pub(super) fn entry(
    memory: &mut Memory<'_>,
    layout: &Layout,
    dict: u64,
    name: &str,
) -> Option<u64> {
    let entries = entries(memory, dict, MAX_ENTRIES)?;
    memory.want(entries.iter().map(|(key, _)| *key));
    let long: Vec<(u64, u64)> = entries
        .into_iter()
        .filter(|(key, _)| memory.word(key.wrapping_add(16)) == Some(name.len() as u64))
        .collect();
    let mut named = long
        .into_iter()
        .filter(|(key, _)| text::text(memory, layout, *key).as_deref() == Some(name));
    named.next().map(|(_, value)| value)
}

/// The members of a set.
pub(super) fn members(memory: &mut Memory<'_>, set: u64) -> Option<Vec<u64>> {
    let mask = memory.word(set.checked_add(32)?)?;
    let table = memory.word(set.checked_add(40)?)?;
    if mask >= MAX_ENTRIES {
        return None;
    }
    let end = table.checked_add((mask + 1) * 16)?;
    memory.want((table..end).step_by(4096));
    let keys = (0..=mask).filter_map(|number| memory.word(table + number * 16));
    Some(keys.filter(|key| is_pointer(*key)).collect())
}
