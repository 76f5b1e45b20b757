//! Where Ruby keeps what a stack is made of, by release: it says nothing of that itself. The fields lie alike in all
//! patch releases of one number; whether a process is really built so is proven by what is read (`threads`, `iseq`).

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// From a thread to its execution context, and back.
    pub context: u64,
    pub back: u64,
    /// From a thread, or from its native thread where `native` leads to one, to the thread pointer.
    pub pointer: u64,
    pub native: Option<u64>,
    /// Size of a control frame.
    pub frame: u64,
    /// In the body of an instruction sequence what tells lines.
    pub lines: u64,
    /// Of one entry of that.
    pub entry: u64,
    /// Numbers of lines may be objects: an integer is then shifted by one bit.
    pub first_line_is_object: bool,
    /// Short strings have their length in a word of its own, not in their flags.
    pub counted: bool,
}

const THREE_ZERO: Layout = Layout {
    context: 40,
    back: 56,
    pointer: 80,
    native: None,
    frame: 56,
    lines: 120,
    entry: 8,
    first_line_is_object: true,
    counted: false,
};

const THREE_ONE: Layout = Layout {
    back: 48,
    frame: 64,
    entry: 12,
    ..THREE_ZERO
};

const THREE_TWO: Layout = Layout {
    context: 48,
    pointer: 8,
    native: Some(40),
    lines: 112,
    first_line_is_object: false,
    counted: true,
    ..THREE_ONE
};

const THREE_THREE: Layout = Layout {
    pointer: 16,
    frame: 56,
    ..THREE_TWO
};

/// Of a release, as `ruby -v` has it; `None` for those whose structures are not known.
pub(super) fn of_release(version: &str) -> Option<Layout> {
    let mut numbers = version.split('.');
    match (numbers.next()?, numbers.next()?) {
        ("3", "0") => Some(THREE_ZERO),
        ("3", "1") => Some(THREE_ONE),
        ("3", "2") => Some(THREE_TWO),
        ("3", "3" | "4") | ("4", "0") => Some(THREE_THREE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_that_is_not_known_has_no_layout() {
        for (version, frame) in [
            ("3.0.7", Some(56)),
            ("3.1.2", Some(64)),
            ("3.2.11", Some(64)),
            ("3.4.1", Some(56)),
            ("4.0.6", Some(56)),
            ("2.7.8", None),
            ("3.10.0", None),
            ("4.1.0", None),
            ("3", None),
        ] {
            assert_eq!(of_release(version).map(|of| of.frame), frame, "{version}");
        }
    }
}
