//! Where CPython keeps what a stack is made of, by release. Up to 3.12 that is fixed by the headers of each minor
//! release, from 3.13 on the program says it itself (`_Py_DebugOffsets`).

use crate::symbolize::runtimes::memory::Memory;

/// How a frame says where in its bytecode it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    /// An index in bytes.
    Bytes,
    /// An index in instructions of two bytes.
    Units,
    /// The address of the instruction, in the code object itself.
    Address,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// `co_lnotab`, to 3.9.
    Steps,
    /// `co_linetable` of 3.10.
    Ranges,
    /// `co_linetable` since 3.11.
    Locations,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// From the runtime to the first interpreter, and on.
    pub interpreters: u64,
    pub next_interpreter: u64,
    pub threads: u64,
    pub next_thread: u64,
    pub thread_id: u64,
    /// From the thread's state to its innermost frame, in 3.11 and 3.12 with one more step.
    pub frame: u64,
    pub frame_again: Option<u64>,
    pub previous: u64,
    pub code: u64,
    pub instruction: u64,
    pub instruction_is: Instruction,
    /// A byte that is 3 and more in frames that C code entered, which run no function.
    pub owner: Option<u64>,
    /// Of a code object.
    pub flags: u64,
    pub name: u64,
    pub filename: u64,
    pub first_line: u64,
    pub line_table: u64,
    pub lines: Lines,
    /// The bytecode: an object of its own before 3.11, then in the code object.
    pub bytecode: u64,
    /// Size of the head of strings that are all ASCII.
    pub ascii: u64,
    /// And of all others.
    pub compact: u64,
}

const OLDEST: Layout = Layout {
    interpreters: 32,
    next_interpreter: 0,
    threads: 8,
    next_thread: 8,
    thread_id: 176,
    frame: 24,
    frame_again: None,
    previous: 24,
    code: 32,
    instruction: 104,
    instruction_is: Instruction::Bytes,
    owner: None,
    flags: 36,
    name: 112,
    filename: 104,
    first_line: 40,
    line_table: 120,
    lines: Lines::Steps,
    bytecode: 48,
    ascii: 48,
    compact: 72,
};

/// Of a minor release of CPython 3 whose structures are known; `None` for the others.
pub(super) fn of_release(minor: u8) -> Option<Layout> {
    match minor {
        8 | 9 => Some(OLDEST),
        10 => Some(Layout {
            instruction: 96,
            instruction_is: Instruction::Units,
            lines: Lines::Ranges,
            ..OLDEST
        }),
        11 => Some(eleven()),
        12 => Some(Layout {
            threads: 72,
            thread_id: 136,
            frame_again: Some(0),
            previous: 8,
            code: 0,
            owner: Some(70),
            first_line: 68,
            bytecode: 192,
            ascii: 40,
            compact: 56,
            ..eleven()
        }),
        _ => None,
    }
}

fn eleven() -> Layout {
    Layout {
        interpreters: 40,
        threads: 16,
        thread_id: 152,
        frame: 56,
        frame_again: Some(8),
        previous: 48,
        instruction: 56,
        instruction_is: Instruction::Address,
        owner: Some(69),
        flags: 48,
        // `co_qualname`; `co_name` is the word before.
        name: 128,
        filename: 112,
        first_line: 72,
        line_table: 136,
        lines: Lines::Locations,
        bytecode: 184,
        ..OLDEST
    }
}

/// `_Py_DebugOffsets`, at the start of the runtime. Its own order differs by release.
pub(super) fn from_debug_offsets(memory: &mut Memory<'_>, runtime: u64) -> Option<Layout> {
    const COOKIE: &[u8; 8] = b"xdebugpy";
    const WORDS: usize = 96;
    let bytes: [u8; WORDS * 8] = memory.array(runtime)?;
    let word = |at: usize| -> Option<u64> {
        let bytes = bytes.as_chunks::<8>().0.get(at)?;
        Some(u64::from_le_bytes(*bytes))
    };
    // Offsets are small; the runtime and interpreter structures have some hundred KiB.
    let offset = |at: usize| word(at).filter(|offset| *offset < 1 << 20);
    if bytes.first_chunk() != Some(COOKIE) {
        return None;
    }
    // `PY_VERSION_HEX`: major, minor, micro, level. Without the lock frames are kept otherwise.
    let minor = match (word(1)? >> 16, word(2)?) {
        (version, 0) if version >> 8 == 3 => version & 0xff,
        _ => return None,
    };
    let (thread, frame, code, unicode) = match minor {
        13 => (19, 28, 34, 67),
        14 => (22, 31, 39, 76),
        _ => return None,
    };
    // They have their length and text in UTF-8 after that.
    let ascii = offset(unicode + 3)?;
    // They are not told of; four other numbers and they come before the first line, since 3.12.
    let first_line = offset(code + 5)?;
    Some(Layout {
        interpreters: offset(5)?,
        next_interpreter: offset(8)?,
        threads: offset(9)?,
        next_thread: offset(thread + 2)?,
        thread_id: offset(thread + 5)?,
        frame: offset(thread + 4)?,
        frame_again: None,
        previous: offset(frame + 1)?,
        code: offset(frame + 2)?,
        instruction: offset(frame + 3)?,
        instruction_is: Instruction::Address,
        owner: Some(offset(frame + 5)?),
        flags: first_line.checked_sub(20)?,
        name: offset(code + 3)?,
        filename: offset(code + 1)?,
        first_line,
        line_table: offset(code + 4)?,
        lines: Lines::Locations,
        bytecode: offset(code + 9)?,
        ascii,
        compact: ascii + 16,
    })
}
