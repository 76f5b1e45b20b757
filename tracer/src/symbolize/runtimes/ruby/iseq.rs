//! Instruction sequences: name, file and line of what is executed. Read in few rounds for a whole stack.

use super::layout::Layout;
use super::{Activation, text};
use crate::model::stack::{Frame, RUBY};
use crate::symbolize::runtimes::memory::Memory;

/// In the flags of what the virtual machine allocates for itself: its kind.
const TYPE: u64 = 0x1f;
const OF_MACHINE: u64 = 0x1a;
const KIND_SHIFT: u32 = 12;
const KIND_MASK: u64 = 15;
/// A block of C code, without a name; it stands in a frame where others have an instruction sequence.
const C_BLOCK: u64 = 4;
const SEQUENCE: u64 = 7;
const BODY: u64 = 16;

// In the body.
const LENGTH: u64 = 4;
const INSTRUCTIONS: u64 = 8;
const PATH: u64 = 64;
const LABEL: u64 = 80;
const FIRST_LINE: u64 = 88;
/// More than what of it is read.
const BODY_BYTES: u64 = 152;
/// No sequence has more words.
const MAX_WORDS: u32 = 1 << 24;

/// Positions below are told by seven bits each, nine to a word.
const IMMEDIATE: u64 = 54;
const IMMEDIATE_BYTES: u64 = IMMEDIATE / 9 * 8;
/// The others by blocks of 512 bits with the number of bits set before each, and before each word.
const BLOCK: u64 = 512;
const BLOCK_BYTES: u64 = 80;

/// Up to the first that is not what it should be; each with its number in `stack`.
pub(super) fn name(
    memory: &mut Memory<'_>,
    layout: &Layout,
    stack: &[Activation],
) -> (Vec<(usize, Frame)>, bool) {
    let codes = stack.iter().map(|one| one.code);
    memory.want(codes.flat_map(|code| [code, code.wrapping_add(BODY)]));
    let codes = stack.iter().map(|one| one.code.wrapping_add(BODY));
    let bodies: Vec<u64> = codes.filter_map(|at| memory.word(at)).collect();
    memory.want(
        bodies
            .iter()
            .flat_map(|body| [*body, body.wrapping_add(BODY_BYTES)]),
    );
    let texts: Vec<u64> = bodies
        .iter()
        .flat_map(|body| {
            [PATH, LABEL, layout.lines, layout.lines + 24].map(|at| body.wrapping_add(at))
        })
        .filter_map(|at| memory.word(at))
        .collect();
    memory.want(texts);
    let mut found = Vec::new();
    let (mut inside, mut left) = (String::new(), 0);
    for (number, one) in stack.iter().enumerate() {
        if kind(memory, one.code) == Some(C_BLOCK) {
            continue;
        }
        let Some(mut frame) = frame(memory, layout, *one) else {
            return (found, true);
        };
        // The frame around the script, in which nothing is executed.
        if frame.line == Some(0) {
            continue;
        }
        let label = frame.function.take().unwrap_or_default();
        let (label, parts) = whole(&label);
        if left > 0 && label == inside {
            left -= 1;
            continue;
        }
        (inside, left) = (label.to_owned(), parts);
        frame.function = Some(label.to_owned());
        found.push((number, frame));
    }
    (found, false)
}

fn kind(memory: &mut Memory<'_>, code: u64) -> Option<u64> {
    let flags = text::flags(memory, code)?;
    (flags & TYPE == OF_MACHINE).then_some(flags >> KIND_SHIFT & KIND_MASK)
}

fn frame(memory: &mut Memory<'_>, layout: &Layout, one: Activation) -> Option<Frame> {
    if kind(memory, one.code)? != SEQUENCE {
        return None;
    }
    let body = memory.word(one.code.checked_add(BODY)?)?;
    let length = memory.half(body.checked_add(LENGTH)?)?;
    let mut word = |at: u64| memory.word(body.checked_add(at)?);
    let (begin, path, label) = (word(INSTRUCTIONS)?, word(PATH)?, word(LABEL)?);
    // Only here does an address belong to this sequence, and to no other that took its place.
    let at = one.instruction.checked_sub(begin)?;
    if length == 0 || length > MAX_WORDS || !at.is_multiple_of(8) || at / 8 > length.into() {
        return None;
    }
    // It is where the next instruction begins.
    let position = (at / 8).saturating_sub(1);
    Some(Frame {
        function: Some(text::text(memory, layout, label)?),
        module: Some(RUBY.to_owned()),
        file: Some(text::path(memory, layout, path)?),
        line: line(memory, layout, body, position).or_else(|| first_line(memory, layout, body)),
        ..Frame::default()
    })
}

/// `rescue in m` is executed as a part of `m`, which is the next frame outwards: one place in the program, and told as one
/// since 3.4. Also says how many frames it is inside of.
fn whole(label: &str) -> (&str, usize) {
    let mut found = (label, 0);
    while let Some(rest) = ["rescue in ", "ensure in "]
        .iter()
        .find_map(|part| found.0.strip_prefix(part))
    {
        found = (rest, found.1 + 1);
    }
    found
}

/// Where the sequence begins.
fn first_line(memory: &mut Memory<'_>, layout: &Layout, body: u64) -> Option<u32> {
    let at = body.checked_add(FIRST_LINE)?;
    if layout.first_line_is_object {
        let number = memory.word(at)?;
        return u32::try_from(number >> 1).ok().filter(|_| number & 1 == 1);
    }
    memory.half(at)
}

/// By the table of the instructions with which a line begins.
fn line(memory: &mut Memory<'_>, layout: &Layout, body: u64, position: u64) -> Option<u32> {
    let info = body.checked_add(layout.lines)?;
    let entries = memory.word(info)?;
    let count = u64::from(memory.half(info.checked_add(16)?)?);
    let number = match count {
        0 => return None,
        1 => 0,
        _ => {
            let table = memory.word(info.checked_add(24)?)?;
            rank(memory, table, position)?.checked_sub(1)?
        }
    };
    if number >= count {
        return None;
    }
    let line = memory.half(entries.checked_add(number * layout.entry)?)?;
    (line.cast_signed() > 0).then_some(line)
}

/// How many entries begin up to this position.
fn rank(memory: &mut Memory<'_>, table: u64, position: u64) -> Option<u64> {
    if position < IMMEDIATE {
        let word = memory.word(table.checked_add(position / 9 * 8)?)?;
        return Some(word >> (position % 9 * 7) & 0x7f);
    }
    let (block, bit) = (
        (position - IMMEDIATE) / BLOCK,
        (position - IMMEDIATE) % BLOCK,
    );
    let block = table.checked_add(IMMEDIATE_BYTES + block * BLOCK_BYTES)?;
    let before = u64::from(memory.half(block)?);
    let words = memory.word(block.checked_add(8)?)?;
    let bits = memory.word(block.checked_add(16 + bit / 64 * 8)?)?;
    let in_block = match bit / 64 {
        0 => 0,
        word => words >> ((word - 1) * 9) & 0x1ff,
    };
    let in_word = (bits << (63 - bit % 64)).count_ones();
    Some(before + in_block + u64::from(in_word))
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_rescue_is_of_its_method() {
        assert_eq!(whole("block in m"), ("block in m", 0));
        assert_eq!(whole("rescue in block in m"), ("block in m", 1));
        assert_eq!(whole("ensure in rescue in m"), ("m", 2));
    }
}
