//! Who made a call where that is not only a thread: a goroutine or a virtual thread, in one word of the kernel's note.

/// A goroutine and how deep in its stack it is, in one word; 0 where there is none. The depth, counted from the end
/// of its stack, stays the same when the runtime moves the stack.
pub mod goroutine {
    /// Ids count up from 1: at a hundred thousand a second they last for four months.
    pub(super) const ID_BITS: u32 = 40;
    const DEPTH_BITS: u32 = 64 - ID_BITS;

    /// `depth` in bytes.
    #[inline(always)]
    pub const fn pack(id: u64, depth: u64) -> u64 {
        let words = depth >> 3;
        // With all bits it would be a virtual thread.
        let too_deep = words >= (1 << DEPTH_BITS) - 1;
        if id == 0 || id >> ID_BITS != 0 || words == 0 || too_deep || depth & 7 != 0 {
            return 0;
        }
        words << ID_BITS | id
    }

    /// Id, and depth in bytes.
    pub const fn unpack(word: u64) -> (u64, u64) {
        (word & ((1 << ID_BITS) - 1), word >> ID_BITS << 3)
    }
}

/// A virtual thread of Java, in one word where a goroutine would be; 0 where there is none. Ids count up from 1.
pub mod virtual_thread {
    use super::goroutine;

    /// Deeper than any goroutine is.
    const MARK: u64 = u64::MAX << goroutine::ID_BITS;

    #[inline(always)]
    pub const fn pack(id: u64) -> u64 {
        if id == 0 || id & MARK != 0 {
            return 0;
        }
        MARK | id
    }

    /// `None` for what is a goroutine.
    pub const fn unpack(word: u64) -> Option<u64> {
        if word & MARK == MARK {
            Some(word & !MARK)
        } else {
            None
        }
    }
}

/// Which virtual thread a thread of Java executes: places in its state, and in the object of a thread, packed into one word.
pub mod mounted {
    const BITS: u32 = 16;
    /// In the state: what leads to the object of the thread itself.
    pub const ITSELF: u32 = 0;
    /// And to that of whom it executes, which may be a virtual one.
    pub const EXECUTED: u32 = 1;
    /// In such an object.
    pub const ID: u32 = 2;

    /// In the order of the constants. `None` where one of them is too large.
    pub fn pack(places: [u64; 3]) -> Option<u64> {
        let mut packed = 0;
        for place in places.into_iter().rev() {
            packed = packed << BITS | u64::from(u16::try_from(place).ok()?);
        }
        Some(packed)
    }

    #[inline(always)]
    pub const fn place(packed: u64, of: u32) -> u64 {
        packed >> (of * BITS) & ((1 << BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{goroutine, mounted, virtual_thread};

    #[test]
    fn a_virtual_thread_is_no_goroutine() {
        let packed = virtual_thread::pack(31);
        assert_eq!(virtual_thread::unpack(packed), Some(31));
        assert_eq!(virtual_thread::unpack(goroutine::pack(31, 64)), None);
        assert_eq!([0, 1 << 40].map(virtual_thread::pack), [0, 0]);
        assert_eq!(goroutine::pack(31, ((1 << 24) - 1) << 3), 0);
        let places = mounted::pack([920, 928, 16]).unwrap();
        let kept = [mounted::ITSELF, mounted::EXECUTED, mounted::ID];
        assert_eq!(kept.map(|of| mounted::place(places, of)), [920, 928, 16]);
        assert_eq!(mounted::pack([1 << 16, 0, 0]), None);
    }
}
