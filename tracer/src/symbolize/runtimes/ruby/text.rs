//! Strings and arrays of Ruby, as names and paths are.

use super::layout::Layout;
use crate::symbolize::runtimes::memory::{MAX_TEXT, Memory};

/// In the flags that every object begins with.
const TYPE: u64 = 0x1f;
const STRING: u64 = 0x05;
const ARRAY: u64 = 0x07;
/// Of strings: what they hold is elsewhere. Of arrays: it is in the object.
const USER_1: u64 = 1 << 13;
/// The length of a short string, up to 3.1.
const LENGTH_SHIFT: u32 = 14;
const LENGTH_MASK: u64 = 31;
/// Bytes beyond which it is no name and no path.
const MAX_LENGTH: u64 = 4096;

pub(super) fn text(memory: &mut Memory<'_>, layout: &Layout, object: u64) -> Option<String> {
    let flags = flags(memory, object)?;
    if flags & TYPE != STRING {
        return None;
    }
    let mut word = |at: u64| memory.word(object.checked_add(at)?);
    let (length, at) = if flags & USER_1 != 0 {
        (word(16)?, word(24)?)
    } else if layout.counted {
        (word(16)?, object.checked_add(24)?)
    } else {
        let length = flags >> LENGTH_SHIFT & LENGTH_MASK;
        (length, object.checked_add(16)?)
    };
    if length == 0 || length > MAX_LENGTH {
        return None;
    }
    let bytes = memory.bytes(at, usize::try_from(length).ok()?)?;
    let mut text = String::from_utf8(bytes).ok()?;
    if text.chars().any(char::is_control) {
        return None;
    }
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    Some(text)
}

/// The path of a file: a string, or an array of the path as the program has it and the real one.
pub(super) fn path(memory: &mut Memory<'_>, layout: &Layout, object: u64) -> Option<String> {
    let flags = flags(memory, object)?;
    let text_of = if flags & TYPE == ARRAY {
        let first = if flags & USER_1 != 0 {
            object.checked_add(16)?
        } else {
            memory.word(object.checked_add(32)?)?
        };
        memory.word(first)?
    } else {
        object
    };
    text(memory, layout, text_of)
}

/// Objects are aligned; what is not is a number or a symbol.
pub(super) fn flags(memory: &mut Memory<'_>, object: u64) -> Option<u64> {
    object
        .is_multiple_of(8)
        .then(|| memory.restless_word(object))
        .flatten()
}
