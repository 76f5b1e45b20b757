//! Walks the stack of a goroutine that waits, by the depths of frames in the program's own table of functions.

use std::collections::HashMap;

use super::list::G;
use crate::symbolize::code::CodeIndex;
use crate::symbolize::go::Leave;
use crate::symbolize::runtimes::memory::Memory;

const MAX_FRAMES: usize = 128;
/// No frame is larger: beyond is damage.
const MAX_FRAME: u64 = 1 << 20;

/// Where a function is, and where its frame ends: as far below the end of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::symbolize) struct Place {
    pub address: u64,
    pub cfa: u64,
}

/// Goroutines mostly wait in few places: each address is looked up once.
pub(in crate::symbolize) struct Walker<'a> {
    code: &'a CodeIndex,
    leaves: HashMap<u64, Option<Leave>>,
}

impl<'a> Walker<'a> {
    pub(in crate::symbolize) fn new(code: &'a CodeIndex) -> Self {
        Self {
            code,
            leaves: HashMap::new(),
        }
    }

    fn leave(&mut self, address: u64) -> Option<Leave> {
        let code = self.code;
        let look_up = || code.find(address)?.go_leave(address);
        *self.leaves.entry(address).or_insert_with(look_up)
    }

    /// Innermost first, to the function that it began with; the second value says that outer ones are missing.
    pub(in crate::symbolize) fn walk(
        &mut self,
        memory: &mut Memory<'_>,
        g: &G,
    ) -> (Vec<Place>, bool) {
        let mut places = Vec::new();
        let (mut address, mut sp) = (g.pc, g.sp);
        while places.len() < MAX_FRAMES {
            // A call may be the last instruction of its function; the innermost one is that of the scheduler.
            match self.leave(address.wrapping_sub(1)) {
                Some(Leave::Outermost) => {
                    places.push(Place { address, cfa: 0 });
                    return (places, false);
                }
                Some(Leave::Depth(depth)) if depth <= MAX_FRAME => {
                    let slot = sp.saturating_add(depth);
                    if slot.saturating_add(8) > g.high || sp & 7 != 0 {
                        return (places, true);
                    }
                    let cfa = slot + 8;
                    places.push(Place {
                        address,
                        cfa: g.high - cfa,
                    });
                    let Some(caller) = memory.word(slot) else {
                        return (places, true);
                    };
                    (address, sp) = (caller, cfa);
                }
                _ => return (places, true),
            }
        }
        (places, true)
    }
}
