//! Numbers as HotSpot packs them (UNSIGNED5), and the table of line numbers made of them. Pure.

/// Which of the two ways: since 20 no packed number has a byte that is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    WithZero,
    WithoutZero,
}

pub(super) struct Stream<'a> {
    bytes: &'a [u8],
    packing: Packing,
}

impl<'a> Stream<'a> {
    pub(super) fn new(bytes: &'a [u8], packing: Packing) -> Self {
        Self { bytes, packing }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// Bytes below 192 end a number, which has at most five.
    pub(super) fn number(&mut self) -> Option<u32> {
        const LAST: u8 = 192;
        let excluded = u8::from(self.packing == Packing::WithoutZero);
        let mut sum = 0_u32;
        for place in 0..5 {
            let byte = self.byte()?;
            let digit = byte.checked_sub(excluded)?;
            sum = sum.wrapping_add(u32::from(digit) << (6 * place));
            if byte < LAST {
                break;
            }
        }
        Some(sum)
    }

    fn signed(&mut self) -> Option<i32> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}

/// Fields of a class that its file has: the number of the name, and where the field is (`FieldInfoStream`, since 21).
pub(super) fn fields(list: &[u8], packing: Packing) -> Option<Vec<(u64, u64)>> {
    /// Each says that another number follows.
    const MORE: [u32; 3] = [1 << 0, 1 << 2, 1 << 4];
    const MAX_FIELDS: u32 = 1024;
    let mut stream = Stream::new(list, packing);
    let (own, _of_the_machine) = (stream.number()?, stream.number()?);
    let mut found = Vec::new();
    for _ in 0..own.min(MAX_FIELDS) {
        let [name, _signature, place, _access, flags] = [
            stream.number()?,
            stream.number()?,
            stream.number()?,
            stream.number()?,
            stream.number()?,
        ];
        for _ in MORE.iter().filter(|more| flags & **more != 0) {
            stream.number()?;
        }
        found.push((u64::from(name), u64::from(place)));
    }
    Some(found)
}

/// The line of the last entry at or before the bytecode.
pub(super) fn line(table: &[u8], packing: Packing, bytecode: u32) -> Option<u32> {
    const ESCAPE: u8 = 0xff;
    let wanted = i64::from(bytecode);
    let mut stream = Stream::new(table, packing);
    let (mut at, mut line) = (0_i64, 0_i64);
    let mut best: Option<(i64, i64)> = None;
    loop {
        match stream.byte()? {
            0 => break,
            ESCAPE => {
                at += i64::from(stream.signed()?);
                line += i64::from(stream.signed()?);
            }
            byte => {
                at += i64::from(byte >> 3);
                line += i64::from(byte & 7);
            }
        }
        if at <= wanted && best.is_none_or(|(best, _)| at >= best) {
            best = Some((at, line));
        }
    }
    let (_, line) = best?;
    u32::try_from(line).ok().filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_both_packings() {
        let number = |bytes: &[u8], packing| Stream::new(bytes, packing).number();
        assert_eq!(number(&[0], Packing::WithZero), Some(0));
        assert_eq!(number(&[191], Packing::WithZero), Some(191));
        assert_eq!(number(&[192, 1], Packing::WithZero), Some(192 + 64));
        assert_eq!(number(&[1], Packing::WithoutZero), Some(0));
        assert_eq!(number(&[192, 1], Packing::WithoutZero), Some(191));
        assert_eq!(number(&[0], Packing::WithoutZero), None);
        assert_eq!(number(&[200], Packing::WithZero), None, "cut");
        assert!(
            number(&[255; 9], Packing::WithZero).is_some(),
            "five bytes at most"
        );
    }

    #[test]
    fn the_line_of_the_last_entry_before() {
        // 0 → 10, 4 → 11, back to line 9 at 12.
        let table = [0xff, 0, 20, 4 << 3 | 1, 0xff, 16, 3, 0];
        let at = |bytecode| line(&table, Packing::WithZero, bytecode);
        assert_eq!(
            [at(0), at(3), at(4), at(12), at(99)],
            [10, 10, 11, 9, 9].map(Some)
        );
        assert_eq!(line(&table[..6], Packing::WithZero, 4), None, "cut");
        assert_eq!(line(&[0], Packing::WithZero, 4), None);
    }

    #[test]
    fn damaged_tables_are_read() {
        crate::damaged::run("python-lines", 20_000, |bytes| {
            for packing in [Packing::WithZero, Packing::WithoutZero] {
                for at in [0, 2, 500, u32::MAX] {
                    line(bytes, packing, at);
                }
            }
        });
    }

    #[test]
    fn fields_of_a_class_are_read() {
        // Of `jdk.internal.vm.StackChunk` as 21 has it: parent, size, sp and bottom, and four of the machine's own.
        let list = [
            0x05, 0x05, 0x0c, 0x0d, 0x29, 0x03, 0x01, 0x15, 0x11, 0x0d, 0x03, 0x01, 0x10, 0x11,
            0x19, 0x03, 0x01, 0x14, 0x11, 0x1d, 0x03, 0x01, 0xc4, 0x06, 0xcb, 0x0c, 0x2d, 0x01,
            0x03,
        ];
        let expected = vec![(11, 40), (20, 12), (15, 24), (19, 28)];
        assert_eq!(fields(&list, Packing::WithoutZero), Some(expected));
        assert_eq!(fields(&list[..20], Packing::WithoutZero), None);
        // One with a constant, and one that is contended.
        let more = [3, 1, 2, 2, 9, 1, 2, 7, 3, 2, 17, 1, 17, 5];
        let expected = vec![(1, 8), (2, 16)];
        assert_eq!(fields(&more, Packing::WithoutZero), Some(expected));
    }
}
