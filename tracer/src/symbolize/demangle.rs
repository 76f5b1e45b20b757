//! Symbol names as a person would write them. Names come from untrusted files: the output is
//! bounded while it is written, because a short mangled name can stand for gigabytes.

use std::fmt::{self, Write};

pub(super) const MAX_NAME: usize = 512;
/// Longer mangled names are shown as they are, cut.
const MAX_MANGLED: usize = 16 << 10;

/// Written out before the defaults are taken away.
const MAX_WRITTEN: usize = 8 * MAX_NAME;
const DEFAULT_ARGUMENTS: [&str; 5] = [
    ", std::char_traits<",
    ", std::allocator<",
    ", std::less<",
    ", std::default_delete<",
    ", std::equal_to<",
];

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
        && let Some(name) = (rust(base).or_else(|| cpp(base)))
            .or_else(|| ocaml(base))
            .or_else(|| cpp_scope(base))
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
    let mut out = Bounded::new(MAX_NAME);
    // `#` leaves out the legacy hash: it changes with every build. Full when this fails.
    let _ = write!(out, "{name:#}");
    Some(out.text)
}

/// A thunk moves `this` by one or two offsets and goes on in a function, whose name is the rest of its own (Itanium C++
/// ABI, 5.1.4.4): `_ZThn16_N3Foo3barEv` → `_ZN3Foo3barEv`.
fn beyond_thunk(symbol: &str) -> Option<String> {
    let (kind, rest) = symbol.strip_prefix("_ZT")?.split_at_checked(1)?;
    let offsets = match kind {
        "h" => 1,
        "v" => 2,
        _ => return None,
    };
    let function = rest.splitn(offsets + 1, '_').nth(offsets)?;
    Some(format!("_Z{function}"))
}

fn cpp(symbol: &str) -> Option<String> {
    if !symbol.starts_with("_Z") && !symbol.starts_with("__Z") {
        return None;
    }
    let function = beyond_thunk(symbol);
    let name = cpp_demangle::Symbol::new(function.as_deref().unwrap_or(symbol)).ok()?;
    // A return type only lengthens template functions and is absent from all others.
    let options = cpp_demangle::DemangleOptions::default()
        .no_return_type()
        .recursion_limit(128);
    let mut out = Bounded::new(MAX_WRITTEN);
    match name.structured_demangle(&mut out, &options) {
        Ok(()) => {}
        Err(_) if out.full => {}
        Err(_) => return None,
    }
    Some(cut(&without_defaults(&out.text), MAX_NAME).to_owned())
}

/// Where a function is that cannot be written as a whole, such as some of lambdas in templates: the names that its own
/// begins with (Itanium C++ ABI, 5.1.3), `_ZZN3one3twoIiE…` → `one::two…`.
fn cpp_scope(symbol: &str) -> Option<String> {
    let mut rest = symbol.strip_prefix("_Z")?.trim_start_matches(['Z', 'N']);
    rest = rest.trim_start_matches(['K', 'V', 'r', 'R', 'O']);
    let mut names: Vec<&str> = Vec::new();
    if let Some(of_std) = rest.strip_prefix("St") {
        (rest, names) = (of_std, vec!["std"]);
    }
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()) {
        let (length, text) = rest.split_at_checked(digits)?;
        let Some((name, after)) = (length.parse().ok()).and_then(|at| text.split_at_checked(at))
        else {
            break;
        };
        names.push(name);
        rest = after;
    }
    let name = names.join("::");
    (names.len() > 1).then(|| format!("{}…", cut(&name, MAX_NAME)))
}

/// `camlApp__handle_client_82` (5.1: `camlApp.handle_client_82`) → `App.handle_client`: the number counts the functions of a
/// module, so it changes with every build. Dune's folders stay: `Dune.exe.Main.serve`.
fn ocaml(symbol: &str) -> Option<String> {
    let path = symbol.strip_prefix("caml")?;
    if !path.starts_with(|first: char| first.is_ascii_uppercase()) {
        return None;
    }
    let (name, number) = path.rsplit_once('_')?;
    let counted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let (_, function) = name.rsplit_once("__").or_else(|| name.rsplit_once('.'))?;
    (counted && !function.is_empty()).then(|| name.replace("__", "."))
}

/// As it is written in the source, where template arguments that nobody chose are left out.
fn without_defaults(name: &str) -> String {
    let mut name = name.replace("std::__cxx11::", "std::");
    for default in DEFAULT_ARGUMENTS {
        while let Some(at) = name.find(default) {
            let rest = name.get(at + default.len()..).unwrap_or_default();
            let end = closing(rest).map(|end| at + default.len() + end);
            // A name that was cut has no end: the rest of it is this argument.
            let end = end.unwrap_or(name.len());
            let end = end + name.get(end..).map_or(0, blank);
            name.replace_range(at..end, "");
        }
    }
    name.replace("std::basic_string<char>", "std::string")
}

/// Where the bracket is closed that was opened before `text`, and one past it.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => open += 1,
            b'>' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// Old demanglers keep the brackets of nested arguments apart.
fn blank(text: &str) -> usize {
    usize::from(text.starts_with(" >"))
}

/// Refuses to grow past its limit, which makes the demangler stop.
struct Bounded {
    limit: usize,
    text: String,
    full: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            text: String::new(),
            full: false,
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
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
            ("_ZThn16_N4Conn6handleEi", "Conn::handle(int)"),
            ("_ZTv0_n120_N4Conn6handleEi", "Conn::handle(int)"),
            ("_Z6handleIiEvT_", "handle<int>(int)"),
            (
                "_Z4takeSt3mapISsSt6vectorIiSaIiEESt4lessISsESaISt4pairIKSsS1_EEE",
                "take(std::map<std::string, std::vector<int>>)",
            ),
            (
                "_ZN4Pool3putERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE",
                "Pool::put(std::string const&)",
            ),
            ("handle_client.constprop.0", "handle_client"),
            ("handle_client.part.0.cold", "handle_client"),
            ("recv@@GLIBC_2.2.5", "recv"),
            ("camlApp__handle_client_82", "App.handle_client"),
            ("camlApp.handle_client_82", "App.handle_client"),
            ("camlDune__exe__Main__serve_7", "Dune.exe.Main.serve"),
            ("camlApp__entry", "camlApp__entry"),
            ("caml_start_program", "caml_start_program"),
            ("camlApp__152", "camlApp__152"),
            ("_Zgarbage", "_Zgarbage"),
            // Its arguments cannot be read.
            (
                "_ZZN5boost4asio6detail5frameIQE",
                "boost::asio::detail::frame…",
            ),
            ("_ZNKSt5queueIQE", "std::queue…"),
            ("_ZN99pool4takeIQE", "_ZN99pool4takeIQE"),
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
