//! Text that a traced process can choose, as the value of a label.

use crate::model::untrusted::{Escaped, Untrusted, is_unsafe_to_show};

/// Characters of a label's value.
pub const MAX_LABEL: usize = 128;

/// Escaped so that two names never become one, then cut. A backslash stays, as units have them in their names, but where it
/// would be read as the beginning of an escape. What is a label already is shown as it is.
pub fn label(text: &str) -> Untrusted {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        shown.push_str(before);
        shown.push_str(if is_like_an_escape(after) {
            "\\x5c"
        } else {
            "\\"
        });
        rest = after;
    }
    shown.push_str(rest);
    Untrusted::new(Escaped(&shown).to_string()).bounded(MAX_LABEL)
}

/// After its backslash: of a character that is never shown, or of the backslash itself.
fn is_like_an_escape(text: &str) -> bool {
    let digits = |text: &str| u32::from_str_radix(text, 16).ok().and_then(char::from_u32);
    let short = text.strip_prefix('x').and_then(|rest| rest.get(..2));
    let long = text
        .strip_prefix("u{")
        .and_then(|rest| rest.split_once('}'));
    let meant = short.or(long.map(|(code, _)| code)).and_then(digits);
    meant.is_some_and(|meant| meant == '\\' || is_unsafe_to_show(meant))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_looks_like_an_escape_is_another_label_than_what_is_escaped() {
        assert_eq!(label("x\u{1b}").raw(), "x\\x1b");
        assert_eq!(label("x\\x1b").raw(), "x\\x5cx1b");
        assert_eq!(label("x\\x5cx1b").raw(), "x\\x5cx5cx1b");
        assert_eq!(label("x\\u{202e}").raw(), "x\\x5cu{202e}");
        // As systemd writes names.
        assert_eq!(label("dev-sda\\x2d1.swap").raw(), "dev-sda\\x2d1.swap");
        assert_eq!(label(&"k".repeat(500)).raw().chars().count(), MAX_LABEL);
    }

    proptest! {
        #[test]
        fn no_two_names_have_one_label(texts in proptest::collection::vec("[x\\\\1b5cu{}0\u{1b}\u{5}\u{202e}]{0,9}", 300)) {
            let mut known: HashMap<String, String> = HashMap::new();
            for text in texts {
                let label = label(&text).raw().to_owned();
                prop_assert!(!label.chars().any(is_unsafe_to_show));
                let before = known.entry(label).or_insert_with(|| text.clone());
                prop_assert_eq!(&*before, &text);
            }
        }
    }
}
