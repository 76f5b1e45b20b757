//! A value for each program counter of one function: file, line, stack depth, inlining. Stored as
//! pairs of steps in value and program counter, each a variable-length number.

use super::window::{Source, Window};

/// Read at a time; most functions need less.
const PIECE: usize = 256;
/// Far more than the largest initialization functions have.
const MAX_STEPS: usize = 1 << 18;
/// One step of either kind is at most this long.
const MAX_NUMBER: usize = 5;

struct Values<'a, S> {
    source: &'a S,
    window: Window,
    next: u64,
    piece: Vec<u8>,
    at: usize,
}

impl<'a, S: Source> Values<'a, S> {
    fn new(source: &'a S, window: Window, start: u64) -> Self {
        Self {
            source,
            window,
            next: start,
            piece: Vec::new(),
            at: 0,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        if self.at == self.piece.len() {
            let mut buffer = [0; PIECE];
            let bytes = self.window.some(self.source, self.next, &mut buffer)?;
            self.next = self.next.checked_add(bytes.len() as u64)?;
            self.piece = bytes.to_vec();
            self.at = 0;
        }
        let byte = *self.piece.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for place in 0..MAX_NUMBER {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f).checked_shl(place as u32 * 7)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// The value that holds at `pc`. The table starts at `start` of `window` and must not run past
/// `end`, where the function does.
pub(super) fn at<S: Source>(
    source: &S,
    window: Window,
    start: u64,
    quantum: u64,
    function: std::ops::Range<u64>,
    pc: u64,
) -> Option<i32> {
    let mut steps = Values::new(source, window, start);
    let (mut value, mut here) = (-1_i32, function.start);
    for _ in 0..MAX_STEPS {
        if here >= function.end {
            break;
        }
        let change = steps.number()?;
        // Only the first value may stay as it is; later on this is the end of the table.
        if change == 0 && here != function.start {
            return None;
        }
        let signed = (change >> 1).cast_signed() ^ -((change & 1).cast_signed());
        value = value.wrapping_add(signed);
        let step = u64::from(steps.number()?).checked_mul(quantum)?;
        // Tables always move on; this one was made to stand still.
        if step == 0 {
            return None;
        }
        here = here.checked_add(step)?;
        if pc < here {
            return Some(value);
        }
    }
    None
}
