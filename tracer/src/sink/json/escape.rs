//! JSON whose strings are safe to print: what JSON itself leaves raw (DEL, C1, bidi controls) is
//! escaped as well. Readers get the same text either way.

use std::io;

use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::model::untrusted::is_unsafe_to_show;

/// Layout is that of the inner formatter.
pub(crate) struct Escaping<F>(F);

impl Escaping<PrettyFormatter<'static>> {
    pub fn pretty() -> Self {
        Self(PrettyFormatter::new())
    }
}

impl Escaping<CompactFormatter> {
    pub fn compact() -> Self {
        Self(CompactFormatter)
    }
}

macro_rules! as_inner {
    ($($method:ident($($argument:ident: $kind:ty),*);)*) => {$(
        fn $method<W: ?Sized + io::Write>(
            &mut self,
            writer: &mut W,
            $($argument: $kind),*
        ) -> io::Result<()> {
            self.0.$method(writer, $($argument),*)
        }
    )*};
}

impl<F: Formatter> Formatter for Escaping<F> {
    as_inner! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, bad)) = rest.char_indices().find(|(_, c)| is_unsafe_to_show(*c)) {
            let (clean, tail) = rest.split_at(at);
            writer.write_all(clean.as_bytes())?;
            // Beyond the basic plane JSON wants a surrogate pair.
            for unit in bad.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = tail.get(bad.len_utf8()..).unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize as _;

    use super::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Escaping::compact());
        text.serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_json_leaves_raw_is_escaped_too() {
        assert_eq!(
            written("a\u{7f}\u{9b}\u{202e}\u{e0041}ü"),
            r#""a\u007f\u009b\u202e\udb40\udc41ü""#
        );
    }

    proptest! {
        #[test]
        fn the_text_reads_back_unchanged(text in any::<String>()) {
            let json = written(&text);
            prop_assert!(!json.contains(is_unsafe_to_show));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
