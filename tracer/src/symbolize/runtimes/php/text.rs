//! Strings of PHP, as names and paths are.

use crate::symbolize::runtimes::memory::{MAX_TEXT, Memory};

const LENGTH: u64 = 16;
const BYTES: u64 = 24;
/// Beyond which it is no name and no path.
const MAX_LENGTH: u64 = 4096;
/// In the word that every counted value begins with, above the count: its type.
const TYPE_SHIFT: u32 = 32;
const TYPE_MASK: u64 = 15;
const STRING: u64 = 6;

pub(super) fn text(memory: &mut Memory<'_>, string: u64) -> Option<String> {
    if !string.is_multiple_of(8)
        || memory.restless_word(string)? >> TYPE_SHIFT & TYPE_MASK != STRING
    {
        return None;
    }
    let length = memory.word(string.checked_add(LENGTH)?)?;
    if length == 0 || length > MAX_LENGTH {
        return None;
    }
    // And a zero byte behind.
    let bytes = usize::try_from(length + 1).ok()?;
    let mut bytes = memory.bytes(string.checked_add(BYTES)?, bytes)?;
    if bytes.pop() != Some(0) {
        return None;
    }
    // Of a class without a name: what follows is the place where it is written.
    let named = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(named.unwrap_or(bytes.len()));
    // Names are bytes to PHP.
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if text.is_empty() || text.chars().any(char::is_control) {
        return None;
    }
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    Some(text)
}
