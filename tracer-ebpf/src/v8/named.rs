//! Which functions the closures on a way are of: what all closures of a function share, and its description. A closure is
//! young and moves at any time; these are old and seldom do.

use tracer_common::{
    runtime::{Activation, Runtime, v8},
    stack_key,
};

use crate::{choice::forgotten, desk::put, repeat::Turn, runtime::word};

/// Puts the function in place of each closure. `ANY` as of a way: what is none is told as a frame of no function.
pub struct Named<'r, const MOST: usize, const ANY: bool> {
    of: &'r Runtime,
    left: *mut Activation,
    seen: u32,
    /// Of all functions; 0 where there is none.
    pub hash: u64,
    /// One of them cannot be read.
    pub unread: bool,
}

impl<'r, const MOST: usize, const ANY: bool> Named<'r, MOST, ANY> {
    #[inline(always)]
    pub fn of(of: &'r Runtime, left: *mut Activation, seen: u32) -> Self {
        Self {
            of,
            left,
            seen,
            hash: forgotten(0, of.tag),
            unread: false,
        }
    }
}

impl<const MOST: usize, const ANY: bool> Turn for Named<'_, MOST, ANY> {
    #[inline(always)]
    fn turn(&mut self, number: u32) -> bool {
        if number >= self.seen {
            return true;
        }
        // SAFETY: MOST is a power of two, and so many fit.
        let (one, closure, place) = unsafe {
            let one = self.left.add(number as usize & (MOST - 1));
            (one, (*one).code, (*one).instruction)
        };
        if closure == 0 {
            return false;
        }
        // What cannot be read is none: the helper leaves 0 there.
        let shared = word(closure.wrapping_add(self.of.shared)).unwrap_or(0);
        let scope = word(shared.wrapping_add(self.of.scope)).unwrap_or(0);
        let (mut code, mut instruction) = (shared, v8::at(place, scope));
        if scope == 0 {
            (code, instruction) = (0, 0);
            self.unread = !ANY;
        } else {
            self.hash = stack_key::fold_managed(self.hash, code, instruction);
        }
        // SAFETY: as above.
        unsafe { put(one, code, instruction) };
        scope == 0 && !ANY
    }
}
