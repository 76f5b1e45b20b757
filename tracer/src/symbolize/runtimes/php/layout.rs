//! Where PHP keeps what a stack is made of, by the number that its modules are built for; and whether a process really
//! is built so.

use crate::symbolize::runtimes::memory::Memory;

/// In the executor's variables: the innermost frame, alike in all releases. Before it the stack of values.
pub(super) const CURRENT: u64 = 488;
const STACK_TOP: u64 = 456;
const STACK_END: u64 = 464;
const STACK: u64 = 472;
const STACK_BYTES: u64 = 480;
/// A piece of that stack is not larger, unless one function alone needs more.
const MAX_STACK_BYTES: u64 = 1 << 30;
/// Of its own record at the start of a piece.
const RECORD: u64 = 24;

/// In a table of names: its buckets, and how many are used. In a bucket the value.
const BUCKETS: u64 = 16;
const USED: u64 = 24;
const BUCKET: u64 = 32;
const MAX_MODULES: u32 = 4096;
/// In a module: its own size, what it was built for, and whether for debugging and for threads.
const MODULE_BYTES: u16 = 168;
const BUILT_FOR: u64 = 4;
const KINDS: u64 = 8;

/// `php FILE`; a server is `cli-server`, `fpm-fcgi` or another.
const COMMAND_LINE: &str = "cli";
const MAX_NAME: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// In a function: how many instructions it has, and where.
    pub count: u64,
    pub instructions: u64,
    pub file: u64,
}

const EIGHT_ZERO: Layout = Layout {
    count: 68,
    instructions: 72,
    file: 144,
};

const EIGHT_TWO: Layout = Layout {
    count: 80,
    instructions: 88,
    file: 152,
};

const EIGHT_THREE: Layout = Layout {
    count: 76,
    instructions: 80,
    file: 144,
};

const EIGHT_FOUR: Layout = Layout {
    count: 96,
    instructions: 104,
    file: 168,
};

#[cfg(test)]
pub(super) const ALL: &[Layout] = &[EIGHT_ZERO, EIGHT_TWO, EIGHT_THREE, EIGHT_FOUR];

/// `None` for releases whose structures are not known.
const fn of_number(number: u32) -> Option<Layout> {
    match number {
        20_200_930 | 20_210_902 => Some(EIGHT_ZERO),
        20_220_829 => Some(EIGHT_TWO),
        20_230_831 => Some(EIGHT_THREE),
        20_240_924 => Some(EIGHT_FOUR),
        _ => None,
    }
}

/// By the first of the modules, which is PHP itself.
pub(super) fn find(memory: &mut Memory<'_>, modules: u64) -> Option<Layout> {
    let used = memory.half(modules.checked_add(USED)?)?;
    if used == 0 {
        memory.too_early();
        return None;
    }
    if used > MAX_MODULES {
        return None;
    }
    let buckets = memory.word(modules.checked_add(BUCKETS)?)?;
    let module = memory.word(buckets)?;
    let second = buckets.checked_add(BUCKET)?;
    let size = memory.array(module).map(u16::from_le_bytes)?;
    let number = memory.half(module.checked_add(BUILT_FOR)?)?;
    let [debugging, threads] = memory.array(module.checked_add(KINDS)?)?;
    let plain = size == MODULE_BYTES && [debugging, threads] == [0, 0];
    // All are built for one number.
    let agreed = used < 2 || {
        let other = memory.word(second)?;
        memory.half(other.checked_add(BUILT_FOR)?)? == number
    };
    (plain && agreed).then(|| of_number(number)).flatten()
}

/// The end of its stack of values is told twice, and the top lies inside.
pub(super) fn is_executor(memory: &mut Memory<'_>, at: u64) -> bool {
    let looks = |memory: &mut Memory<'_>| {
        let mut word = |place: u64| memory.word(at.checked_add(place)?);
        let (top, end) = (word(STACK_TOP)?, word(STACK_END)?);
        let (stack, bytes) = (word(STACK)?, word(STACK_BYTES)?);
        let whole = stack != 0
            && memory.word(stack.checked_add(8)?)? == end
            && bytes.is_power_of_two()
            && (4096..=MAX_STACK_BYTES).contains(&bytes);
        let first = stack.checked_add(RECORD)?;
        let inside = first <= top && top <= end && end - stack <= MAX_STACK_BYTES;
        Some(whole && inside)
    };
    looks(memory).unwrap_or(false)
}

/// By what it is called as, which begins the description of the way it was started.
pub(super) fn runs_one_script(memory: &mut Memory<'_>, way: u64) -> bool {
    let name = memory.word(way);
    let name = name.and_then(|name| memory.string(name, MAX_NAME));
    name.as_deref() == Some(COMMAND_LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_is_not_known_has_no_layout() {
        for (number, file) in [
            (20_190_902, None),
            (20_200_930, Some(144)),
            (20_210_902, Some(144)),
            (20_220_829, Some(152)),
            (20_230_831, Some(144)),
            (20_240_924, Some(168)),
            (20_250_925, None),
            (20_260_924, None),
        ] {
            assert_eq!(of_number(number).map(|of| of.file), file, "{number}");
        }
    }
}
