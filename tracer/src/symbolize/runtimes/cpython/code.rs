//! Code objects: name, file and line of what is executed. Read in few rounds for a whole stack.

use super::layout::{Instruction, Layout};
use super::{Activation, lines, text};
use crate::model::stack::{Frame, PYTHON};
use crate::symbolize::runtimes::memory::Memory;

const TYPE: u64 = 8;
const SIZE: u64 = 16;
/// Where the bytes of a bytes object begin.
const BYTES: u64 = 32;
/// `CO_COROUTINE`, `CO_ITERABLE_COROUTINE`, `CO_ASYNC_GENERATOR` (Include/cpython/code.h).
const OF_COROUTINES: u32 = 0x80 | 0x100 | 0x200;
/// More than any code object's head.
const HEAD: u64 = 208;
/// No bytecode is longer.
const MAX_BYTECODE: u64 = 1 << 28;

struct Object {
    name: u64,
    filename: u64,
    line_table: u64,
    first_line: u32,
    flags: u32,
    /// Bytes from the start of the bytecode; `None` before the first instruction.
    at: Option<u32>,
}

pub(super) fn name(
    memory: &mut Memory<'_>,
    layout: &Layout,
    code_type: u64,
    stack: &[Activation],
) -> Vec<Frame> {
    let codes = stack.iter().map(|one| one.code);
    memory.want(codes.flat_map(|code| [code, code.wrapping_add(HEAD)]));
    let objects: Vec<Object> = stack
        .iter()
        .map_while(|one| object(memory, layout, code_type, *one))
        .collect();
    let texts = objects
        .iter()
        .flat_map(|object| [object.name, object.filename, object.line_table]);
    memory.want(texts);
    objects
        .iter()
        .map_while(|object| frame(memory, layout, object))
        .collect()
}

fn object(
    memory: &mut Memory<'_>,
    layout: &Layout,
    code_type: u64,
    Activation { code, instruction }: Activation,
) -> Option<Object> {
    let references = memory.restless_word(code)?;
    let mut word = |offset: u64| memory.word(code.checked_add(offset)?);
    // Freed ones have a link of the allocator there, or nothing.
    if references as u32 == 0 || word(TYPE)? != code_type {
        return None;
    }
    let (name, filename) = (word(layout.name)?, word(layout.filename)?);
    let line_table = word(layout.line_table)?;
    let (size, at) = match layout.instruction_is {
        Instruction::Address => {
            let units = word(SIZE)?;
            let begin = code.checked_add(layout.bytecode)?;
            (
                units.checked_mul(2)?,
                instruction.wrapping_sub(begin).cast_signed(),
            )
        }
        kind => {
            let bytecode = word(layout.bytecode)?;
            let index = i64::from((instruction as u32).cast_signed());
            let width = if kind == Instruction::Units { 2 } else { 1 };
            (memory.word(bytecode.checked_add(SIZE)?)?, index * width)
        }
    };
    if size > MAX_BYTECODE || at < -2 || at >= size.cast_signed() {
        return None;
    }
    Some(Object {
        name,
        filename,
        line_table,
        first_line: memory.half(code.checked_add(layout.first_line)?)?,
        flags: memory.half(code.checked_add(layout.flags)?)?,
        at: u32::try_from(at).ok(),
    })
}

fn frame(memory: &mut Memory<'_>, layout: &Layout, object: &Object) -> Option<Frame> {
    let line = match object.at {
        Some(at) => table(memory, object.line_table)
            .and_then(|table| lines::line(layout.lines, &table, object.first_line, at)),
        None => Some(object.first_line),
    };
    Some(Frame {
        function: Some(text::text(memory, layout, object.name)?),
        module: Some(PYTHON.to_owned()),
        file: Some(text::text(memory, layout, object.filename)?),
        line,
        of_coroutine: object.flags & OF_COROUTINES != 0,
        ..Frame::default()
    })
}

fn table(memory: &mut Memory<'_>, object: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(memory.word(object.checked_add(SIZE)?)?).ok()?;
    if size > lines::MAX_TABLE {
        return None;
    }
    memory.bytes(object.checked_add(BYTES)?, size)
}
