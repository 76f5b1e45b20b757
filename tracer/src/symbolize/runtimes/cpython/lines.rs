//! From a place in the bytecode to a line, with the three kinds of table that CPython has had. Pure; a table that
//! makes no sense gives no line.

use super::layout::Lines;

pub(super) const MAX_TABLE: usize = 1 << 20;

/// `at` counts bytes from the start of the bytecode.
pub(super) fn line(kind: Lines, table: &[u8], first: u32, at: u32) -> Option<u32> {
    let line = match kind {
        Lines::Steps => steps(table, first, at),
        Lines::Ranges => ranges(table, first, at),
        Lines::Locations => locations(table, first, at),
    }?;
    u32::try_from(line).ok().filter(|line| *line > 0)
}

fn steps(table: &[u8], first: u32, at: u32) -> Option<i64> {
    let mut line = i64::from(first);
    let mut begin = 0_u32;
    for [bytes, lines] in table.as_chunks().0 {
        begin = begin.checked_add(u32::from(*bytes))?;
        if begin > at {
            break;
        }
        line += i64::from(lines.cast_signed());
    }
    Some(line)
}

fn ranges(table: &[u8], first: u32, at: u32) -> Option<i64> {
    const NO_LINE: i8 = -128;
    let mut line = i64::from(first);
    let mut end = 0_u32;
    for [bytes, lines] in table.as_chunks().0 {
        let lines = lines.cast_signed();
        if lines != NO_LINE {
            line += i64::from(lines);
        }
        end = end.checked_add(u32::from(*bytes))?;
        if at < end {
            return (lines != NO_LINE).then_some(line);
        }
    }
    None
}

/// Each entry begins with a byte that has its highest bit set, and no other has.
fn locations(table: &[u8], first: u32, at: u32) -> Option<i64> {
    const NONE: u8 = 15;
    const LONG: u8 = 14;
    const NO_COLUMNS: u8 = 13;
    const ONE_LINE: std::ops::RangeInclusive<u8> = 10..=12;
    let mut line = i64::from(first);
    let mut end = 0_u32;
    let mut rest = table.iter().peekable();
    while let Some(head) = rest.next() {
        if head & 0x80 == 0 {
            return None;
        }
        let mut body = Vec::with_capacity(8);
        while let Some(byte) = rest.next_if(|byte| *byte & 0x80 == 0) {
            body.push(*byte);
        }
        let kind = head >> 3 & 15;
        line += match kind {
            NO_COLUMNS | LONG => signed(&body)?,
            kind if ONE_LINE.contains(&kind) => i64::from(kind - ONE_LINE.start()),
            _ => 0,
        };
        end = end.checked_add((u32::from(head & 7) + 1) * 2)?;
        if at < end {
            return (kind != NONE).then_some(line);
        }
    }
    None
}

/// Six bits a byte, the lowest first; the lowest bit of all is the sign.
fn signed(bytes: &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate() {
        let shift = u32::try_from(place).ok()?.checked_mul(6)?;
        value |= u64::from(byte & 63)
            .checked_shl(shift)
            .filter(|_| shift < 60)?;
        if byte & 64 == 0 {
            let size = i64::try_from(value >> 1).ok()?;
            return Some(if value & 1 == 0 { size } else { -size });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_before_the_place_count() {
        let table = [0, 1, 8, 2, 10, 0xfe, 4, 5];
        let at = |at| line(Lines::Steps, &table, 10, at);
        assert_eq!(
            [at(0), at(7), at(8), at(18), at(22), at(900)],
            [11, 11, 13, 11, 16, 16].map(Some)
        );
    }

    #[test]
    fn ranges_hold_the_place_and_may_have_no_line() {
        let table = [4, 1, 6, 0x80, 4, 2];
        let at = |at| line(Lines::Ranges, &table, 10, at);
        assert_eq!(
            [at(0), at(3), at(4), at(10), at(14)],
            [Some(11), Some(11), None, Some(13), None]
        );
    }

    #[test]
    fn locations_of_all_kinds() {
        let table = [
            0x80 | 11 << 3 | 1,
            5,
            6, // two instructions, one line on
            0x80 | 3 << 3,
            7, // one more on the same line
            0x80 | 14 << 3,
            0x40 | 4,
            1,
            0,
            0,
            0, // 34 lines on
            0x80 | 13 << 3,
            3,              // one line back
            0x80 | 15 << 3, // none
        ];
        let at = |at| line(Lines::Locations, &table, 10, at);
        assert_eq!(
            [at(0), at(3), at(4), at(6), at(8), at(10), at(12)],
            [Some(11), Some(11), Some(11), Some(45), Some(44), None, None]
        );
    }

    #[test]
    fn nonsense_has_no_line_and_ends() {
        for kind in [Lines::Steps, Lines::Ranges, Lines::Locations] {
            for byte in 0..=255 {
                let _ = line(kind, &vec![byte; 10_001], 1, u32::MAX);
                let _ = line(kind, &vec![byte; 10_001], u32::MAX, 5_000);
            }
        }
        assert_eq!(line(Lines::Locations, &[1, 2, 3], 1, 0), None);
        assert_eq!(
            line(
                Lines::Locations,
                &[
                    0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f
                ],
                1,
                0
            ),
            None
        );
    }

    #[test]
    fn damaged_tables_are_read() {
        crate::damaged::run("python-lines", 20_000, |bytes| {
            for kind in [Lines::Steps, Lines::Ranges, Lines::Locations] {
                for at in [0, 2, 500, u32::MAX] {
                    line(kind, bytes, 7, at);
                }
            }
        });
    }
}
