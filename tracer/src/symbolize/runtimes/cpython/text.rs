//! Strings of CPython, as names and paths are.

use super::layout::Layout;
use crate::symbolize::runtimes::memory::{MAX_TEXT, Memory};

/// Characters beyond which it is no name and no path.
const MAX_LENGTH: u64 = 4096;
const LENGTH: u64 = 16;
const STATE: u64 = 32;
struct State {
    width: u64,
    ascii: bool,
}

impl State {
    /// The bits before the width of a character have become more over time; only one reading makes sense.
    fn of(word: u32) -> Option<Self> {
        [2, 8, 16].into_iter().find_map(|shift| {
            let bits = word >> shift;
            let (width, compact, ascii) = (bits & 7, bits & 8 != 0, bits & 16 != 0);
            let sensible = compact && matches!((width, ascii), (1, _) | (2 | 4, false));
            sensible.then_some(Self {
                width: width.into(),
                ascii,
            })
        })
    }
}

pub(super) fn text(memory: &mut Memory<'_>, layout: &Layout, object: u64) -> Option<String> {
    let length = memory.word(object.checked_add(LENGTH)?)?;
    let state = State::of(memory.half(object.checked_add(STATE)?)?)?;
    if length == 0 || length > MAX_LENGTH {
        return None;
    }
    let head = if state.ascii {
        layout.ascii
    } else {
        layout.compact
    };
    let size = usize::try_from(length * state.width).ok()?;
    let bytes = memory.bytes(object.checked_add(head)?, size)?;
    let wide = |bytes: &[u8]| -> Option<char> {
        let mut all = [0; 4];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        char::from_u32(u32::from_le_bytes(all))
    };
    let characters = bytes.chunks_exact(state.width as usize).map(wide);
    let text: String = characters.collect::<Option<String>>()?;
    let clean = !text.chars().any(char::is_control) && (!state.ascii || text.is_ascii());
    clean.then(|| cut(text))
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}
