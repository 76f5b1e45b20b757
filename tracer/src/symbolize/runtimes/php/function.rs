//! Functions: name, file and line of what is executed. Read in few rounds for a whole stack.

use super::layout::Layout;
use super::{Activation, text};
use crate::model::stack::{Frame, PHP};
use crate::symbolize::runtimes::memory::Memory;

/// A function begins with its kind: one bit for a function of a script, one for what `eval` has made.
pub(super) const HAS_INSTRUCTIONS: u64 = 2 | 4;
const FLAGS: u64 = 4;
/// Of these flags: it is kept for all requests, by opcache.
const KEPT: u32 = 1 << 7;
const NAME: u64 = 8;
const CLASS: u64 = 16;
/// More than what of it is read.
const FUNCTION_BYTES: u64 = 176;
/// In a class, after its own kind.
const CLASS_NAME: u64 = 8;
/// Of an instruction; in it the line.
const INSTRUCTION_BYTES: u64 = 32;
const LINE: u64 = 24;
/// No function has more of them.
const MAX_INSTRUCTIONS: u32 = 1 << 24;
/// What stands outside of functions, as PHP's own traces call it.
const OUTSIDE: &str = "{main}";

/// `None` where it cannot be read.
pub(super) fn has_instructions(memory: &mut Memory<'_>, code: u64) -> Option<bool> {
    let [kind] = memory.array(code)?;
    Some(u64::from(kind) & HAS_INSTRUCTIONS != 0)
}

/// How many of these, from the innermost on, are no others' meanwhile: what ends with its request, or once a file was included,
/// leaves its place to what comes next. `whole` says that the last one is the outermost.
pub(super) fn that_stay(
    memory: &mut Memory<'_>,
    one_script: bool,
    stack: &[Activation],
    whole: bool,
) -> usize {
    memory.want(stack.iter().map(|one| one.code));
    let mut stays = |(number, one): (usize, &Activation)| {
        let flags = memory.half(one.code.checked_add(FLAGS)?)?;
        let is_named = memory.word(one.code.checked_add(NAME)?)? != 0;
        let is_script = whole && number + 1 == stack.len();
        Some(flags & KEPT != 0 || one_script && (is_named || is_script))
    };
    let gone = stack
        .iter()
        .enumerate()
        .position(|one| stays(one) != Some(true));
    gone.unwrap_or(stack.len())
}

/// Up to the first that is not what it should be; each with its number in `stack`, and where its instructions are.
pub(super) fn name(
    memory: &mut Memory<'_>,
    layout: &Layout,
    stack: &[Activation],
) -> (Vec<(usize, Frame, u64)>, bool) {
    let codes = stack.iter().map(|one| one.code);
    memory.want(codes.flat_map(|code| [code, code.wrapping_add(FUNCTION_BYTES)]));
    memory.want(stack.iter().map(|one| one.instruction));
    let texts: Vec<u64> = stack
        .iter()
        .flat_map(|one| [NAME, CLASS, layout.file].map(|at| one.code.wrapping_add(at)))
        .filter_map(|at| memory.word(at))
        .collect();
    memory.want(texts);
    let mut found = Vec::new();
    for (number, one) in stack.iter().enumerate() {
        let Some((frame, instructions)) = frame(memory, layout, *one) else {
            return (found, true);
        };
        found.push((number, frame, instructions));
    }
    (found, false)
}

fn frame(memory: &mut Memory<'_>, layout: &Layout, one: Activation) -> Option<(Frame, u64)> {
    let [kind] = memory.array(one.code)?;
    if ![2, 4].contains(&kind) || !one.code.is_multiple_of(8) {
        return None;
    }
    let count = memory.half(one.code.checked_add(layout.count)?)?;
    let mut word = |at: u64| memory.word(one.code.checked_add(at)?);
    let (name, class) = (word(NAME)?, word(CLASS)?);
    let (begin, file) = (word(layout.instructions)?, word(layout.file)?);
    // Only here does an instruction belong to this function, and to no other that took its place.
    let at = one.instruction.checked_sub(begin)?;
    let inside = at.is_multiple_of(INSTRUCTION_BYTES) && at / INSTRUCTION_BYTES < count.into();
    if count > MAX_INSTRUCTIONS || !inside {
        return None;
    }
    let line = memory.half(one.instruction.checked_add(LINE)?)?;
    let mut function = match name {
        0 => OUTSIDE.to_owned(),
        name => text::text(memory, name)?,
    };
    if class != 0 && name != 0 {
        let class = memory.word(class.checked_add(CLASS_NAME)?)?;
        function = format!("{}::{function}", text::text(memory, class)?);
    }
    let frame = Frame {
        function: Some(function),
        module: Some(PHP.to_owned()),
        file: Some(text::text(memory, file)?),
        line: (line != 0).then_some(line),
        ..Frame::default()
    };
    Some((frame, begin))
}
