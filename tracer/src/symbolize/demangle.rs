//! Symbol names as a person would write them. Names come from untrusted files: the output is
//! bounded while it is written, because a short mangled name can stand for gigabytes.

use std::fmt::{self, Write};

pub(super) const MAX_NAME: usize = 512;
/// Longer mangled names are shown as they are, cut.
const MAX_MANGLED: usize = 16 << 10;

/// What compilers append for copies and pieces of a function; the piece belongs to the function.
const CLONE_MARKS: [&str; 7] = [
    ".constprop.",
    ".isra.",
    ".part.",
    ".cold",
    ".lto_priv.",
    ".llvm.",
    ".localalias",
];

pub(super) fn readable(symbol: &str) -> String {
    let base = without_clone_marks(without_version(symbol));
    if base.len() <= MAX_MANGLED
        && let Some(name) = rust(base).or_else(|| cpp(base))
    {
        return name;
    }
    cut(base, MAX_NAME).to_owned()
}

/// The first `limit` bytes, at a character boundary.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// `recv@@GLIBC_2.2.5` → `recv`.
fn without_version(symbol: &str) -> &str {
    match symbol.split_once('@') {
        Some((name, _)) if !name.is_empty() => name,
        _ => symbol,
    }
}

fn without_clone_marks(symbol: &str) -> &str {
    let marks = CLONE_MARKS.iter().filter_map(|mark| symbol.find(mark));
    match marks.min() {
        Some(at) if at > 0 => symbol.get(..at).unwrap_or(symbol),
        _ => symbol,
    }
}

fn rust(symbol: &str) -> Option<String> {
    let name = rustc_demangle::try_demangle(symbol).ok()?;
    let mut out = Bounded::default();
    // `#` leaves out the legacy hash: it changes with every build. Full when this fails.
    let _ = write!(out, "{name:#}");
    Some(out.text)
}

fn cpp(symbol: &str) -> Option<String> {
    if !symbol.starts_with("_Z") && !symbol.starts_with("__Z") {
        return None;
    }
    let name = cpp_demangle::Symbol::new(symbol).ok()?;
    // A return type only lengthens template functions and is absent from all others.
    let options = cpp_demangle::DemangleOptions::default()
        .no_return_type()
        .recursion_limit(128);
    let mut out = Bounded::default();
    match name.structured_demangle(&mut out, &options) {
        Ok(()) => Some(out.text),
        Err(_) if out.full => Some(out.text),
        Err(_) => None,
    }
}

/// Refuses to grow past `MAX_NAME`, which makes the demangler stop.
#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = MAX_NAME.saturating_sub(self.text.len());
        self.text.push_str(cut(piece, room));
        if piece.len() > room {
            self.full = true;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_in_the_source() {
        for (symbol, expected) in [
            ("_ZN6leaker6handle17h0123456789abcdefE", "leaker::handle"),
            ("_RNvCs1234_6leaker6handle", "leaker::handle"),
            ("_ZN4Conn6handleEi", "Conn::handle(int)"),
            ("_Z6handleIiEvT_", "handle<int>(int)"),
            ("handle_client.constprop.0", "handle_client"),
            ("handle_client.part.0.cold", "handle_client"),
            ("recv@@GLIBC_2.2.5", "recv"),
            ("_Zgarbage", "_Zgarbage"),
            (".cold", ".cold"),
            ("main.(*Server).serve", "main.(*Server).serve"),
            ("", ""),
        ] {
            assert_eq!(readable(symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn output_stays_bounded_when_a_name_doubles_at_every_level() {
        // Each substitution refers to the pair before it: 2^24 repetitions if written out.
        let mut bomb = String::from("_Z1f1AI1BS0_E");
        for level in 0..24u32 {
            let digit = char::from_digit(level % 36, 36)
                .unwrap_or('0')
                .to_ascii_uppercase();
            write!(bomb, "1AIS{digit}_S{digit}_E").unwrap();
        }
        assert!(readable(&bomb).len() <= MAX_NAME);
        assert!(readable(&"x".repeat(100_000)).len() <= MAX_NAME);
        assert!(readable(&format!("_ZN{}E", "3abc".repeat(2000))).len() <= MAX_NAME);
    }
}
