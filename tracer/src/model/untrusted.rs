//! Text a traced process can choose: comm, exe, paths, symbol and unit names. It can only be shown
//! escaped, so it can neither drive the terminal nor reorder what the reader sees.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

/// Kept as it came; JSON carries the text itself, `Display` the escaped form. A backslash is left
/// alone so that escaping twice changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Bytes that are not UTF-8 become `\xNN`; nothing after them is lost.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                // Writing into a String cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
        Self(text)
    }

    /// A kernel `comm`: 16 bytes, ended by the first NUL.
    pub fn from_comm(bytes: &[u8]) -> Self {
        Self::from_bytes(bytes.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    /// At most `max` characters of the text, ended by `…` when something was cut.
    #[must_use]
    pub fn bounded(self, max: usize) -> Self {
        if self.0.char_indices().nth(max).is_none() {
            return self;
        }
        let kept = self
            .0
            .char_indices()
            .nth(max.saturating_sub(1))
            .map_or(0, |(end, _)| end);
        let mut text = self.0;
        text.truncate(kept);
        text.push('…');
        Self(text)
    }

    /// The text as it came. For comparing and for handing on to code that escapes by itself; never
    /// for a terminal.
    pub fn raw(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.width().is_some() || f.precision().is_some() {
            return f.pad(&Escaped(&self.0).to_string());
        }
        Escaped(&self.0).fmt(f)
    }
}

/// Any text, shown escaped. For text that is ours but was built from a process's words.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((index, bad)) = rest.char_indices().find(|(_, c)| is_unsafe_to_show(*c)) {
            let (clean, tail) = rest.split_at(index);
            f.write_str(clean)?;
            if bad.is_ascii() {
                write!(f, "\\x{:02x}", u32::from(bad))?;
            } else {
                write!(f, "\\u{{{:x}}}", u32::from(bad))?;
            }
            rest = tail.get(bad.len_utf8()..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

/// Controls, line separators, and everything that changes the order of text or has no width: two
/// different names must never look the same by way of an invisible character.
pub fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminal_and_bidi_tricks_are_spelled_out() {
        let text = Untrusted::from("a\u{1b}[31m\u{7f}\u{9b}\u{202e}gpj\n");
        assert_eq!(text.to_string(), "a\\x1b[31m\\x7f\\u{9b}\\u{202e}gpj\\x0a");
        assert_eq!(Untrusted::from("наблюдатель").to_string(), "наблюдатель");
    }

    #[test]
    fn bytes_that_are_not_text_are_kept_as_hex() {
        assert_eq!(Untrusted::from_bytes(b"a\xff\xc3b").raw(), "a\\xff\\xc3b");
        assert_eq!(Untrusted::from_comm(b"nginx\0garbage").raw(), "nginx");
    }

    #[test]
    fn json_carries_the_text_itself() {
        let json = serde_json::to_string(&Untrusted::from("a\u{1b}\"}")).unwrap();
        assert_eq!(json, r#""a\u001b\"}""#);
    }

    #[test]
    fn a_bound_counts_characters_and_says_that_it_cut() {
        assert_eq!(Untrusted::from("äöüß").bounded(4).raw(), "äöüß");
        assert_eq!(Untrusted::from("äöüßx").bounded(4).raw(), "äöü…");
        assert_eq!(Untrusted::from("ab").bounded(0).raw(), "…");
        assert_eq!(format!("{:<6}|", Untrusted::from("a\u{1}")), "a\\x01 |");
    }

    proptest! {
        #[test]
        fn shown_text_never_holds_a_control(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let shown = Untrusted::from_bytes(&bytes).to_string();
            prop_assert!(!shown.chars().any(is_unsafe_to_show), "{shown:?}");
        }

        #[test]
        fn escaping_twice_changes_nothing(text in "\\PC*|[\u{0}-\u{ff}\u{2000}-\u{2070}]*") {
            let once = Untrusted::new(text).to_string();
            prop_assert_eq!(Untrusted::new(once.clone()).to_string(), once);
        }

        #[test]
        fn a_bound_holds(text in "\\PC*", max in 1_usize..40) {
            prop_assert!(Untrusted::new(text).bounded(max).raw().chars().count() <= max);
        }
    }
}
