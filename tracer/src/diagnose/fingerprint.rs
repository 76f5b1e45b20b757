//! The identity of a leak across builds, verdicts and machines: what its code is called. Holds no verdict,
//! build-id, offset, line, path, port or address. Baselines and suppressions are kept by it for years, so a
//! change of what is hashed is a new scheme.

use sha2::{Digest, Sha256};

use super::Group;
use crate::model::stack::Frame;

/// Stands before the hash. A reader that finds another one cannot compare.
pub const SCHEME: u32 = 1;
/// The blamed frame and two callers.
const FRAMES: usize = 3;

/// `1-9f86d081884c7d65`.
pub fn of(group: &Group<'_>) -> String {
    let is_own = |frame: &Frame| {
        let context = group.oldest().map(|view| view.context);
        context.is_some_and(|context| context.is_own(frame))
    };
    let program = group.process.map_or("", |process| {
        process.exe.as_deref().unwrap_or(&process.comm)
    });
    let frames = group.frames.unwrap_or_default();
    hash(&subject(program, frames, group.blamed, is_own))
}

fn hash(subject: &str) -> String {
    format!("{SCHEME}-{:.16x}", Sha256::digest(subject.as_bytes()))
}

/// What is hashed, readable.
fn subject(
    program: &str,
    frames: &[Frame],
    blamed: Option<&Frame>,
    is_own: impl Fn(&Frame) -> bool,
) -> String {
    let program = unversioned(base(program));
    let start = blamed.and_then(|blamed| frames.iter().position(|frame| frame == blamed));
    let own: Vec<String> = match (start, blamed) {
        (Some(start), _) => {
            let callers = frames.iter().skip(start + 1).filter(|frame| is_own(frame));
            let all = frames.get(start).into_iter().chain(callers);
            all.filter_map(named).take(FRAMES).collect()
        }
        // Of another group: the one whose victim this is.
        (None, Some(blamed)) => named(blamed).into_iter().collect(),
        (None, None) => Vec::new(),
    };
    if !own.is_empty() {
        return format!("{program}|{}", own.join("|"));
    }
    // Nothing of its own has a name. What it calls into tells two leaks of a program apart as far as that is
    // possible without addresses.
    let mut libraries: Vec<String> = Vec::new();
    for frame in frames {
        let module = unversioned(frame.module.as_deref().unwrap_or_default());
        let called = named(frame).unwrap_or_else(|| module.to_owned());
        if !module.starts_with('[') && !libraries.contains(&called) {
            libraries.push(called);
        }
    }
    libraries.truncate(FRAMES);
    format!("{program}||{}", libraries.join("|"))
}

/// `handle(conn.c)`; `None` for a frame without a name.
fn named(frame: &Frame) -> Option<String> {
    let function = plain(frame.function.as_deref()?);
    let file = frame.file.as_deref().map_or("", base);
    Some(format!("{function}({file})"))
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `python3.11` is `python`, `server-1.4.2` is `server`, and so is cargo's `server-0123456789abcdef`.
fn unversioned(name: &str) -> &str {
    let name = name.split(".so").next().unwrap_or(name);
    if let Some((name, hash)) = name.rsplit_once('-')
        && hash.len() == 16
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        return name;
    }
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let bare = bare.trim_end_matches("-v").trim_end_matches(['-', '_']);
    if bare.is_empty() { name } else { bare }
}

/// A function's name without what differs from build to build: hashes, type arguments, and the marks
/// that optimisers leave on copies.
fn plain(function: &str) -> String {
    let function = function.split(" [clone").next().unwrap_or(function);
    let mut out = without_arguments(function);
    // Rust's legacy mangling: `::h0123456789abcdef`.
    if let Some((name, hash)) = out.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        out.truncate(name.len());
    }
    // Java's hidden classes: `Server$$Lambda$14/0x0000000800c03000.run`, `…$$Lambda/0x….run`.
    while let Some(at) = out.find("/0x") {
        let tail = out.get(at + 3..).unwrap_or_default();
        let digits = tail.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.replace_range(at..at + 3 + digits, "");
    }
    if let Some(at) = out.find("$$Lambda$") {
        let from = at + "$$Lambda".len();
        let tail = out.get(from + 1..).unwrap_or_default();
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        out.replace_range(from..from + 1 + digits, "");
    }
    for mark in [
        ".constprop.",
        ".isra.",
        ".part.",
        ".llvm.",
        ".lto_priv.",
        ".cold",
    ] {
        if let Some(at) = out.find(mark) {
            out.truncate(at);
        }
    }
    out
}

/// `<…>` and `[…]` right behind a name are its type arguments: `map::<K, V>::get` is `map::get`. At the start
/// of a name they are part of it: `<Conn as Read>::read`, `<module>`, `outer.<locals>.inner`.
fn without_arguments(function: &str) -> String {
    let mut out = String::with_capacity(function.len());
    let mut depth = 0_usize;
    let mut last = ' ';
    let mut rest = function.chars().peekable();
    while let Some(c) = rest.next() {
        let opens = matches!(c, '<' | '[');
        let arrow = c == '>' && last == '-';
        if depth > 0 {
            if opens {
                depth += 1;
            } else if matches!(c, '>' | ']') && !arrow {
                depth -= 1;
            }
        } else if opens && begins_arguments(&out, rest.peek().copied()) {
            if out.ends_with("::") {
                out.truncate(out.len() - 2);
            }
            depth = 1;
        } else {
            out.push(c);
        }
        last = c;
    }
    out
}

fn begins_arguments(before: &str, next: Option<char>) -> bool {
    let named = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ')');
    // `core::num::<impl Debug for u32>::fmt` says which of many it is.
    let generic = before.ends_with("::") && next != Some('i');
    (named || generic) && !before.ends_with("operator")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        Frame {
            function: (!function.is_empty()).then(|| function.to_owned()),
            module: Some("server".to_owned()),
            file: (!file.is_empty()).then(|| file.to_owned()),
            ..Frame::default()
        }
    }

    fn own(frame: &Frame) -> bool {
        !frame
            .function
            .as_deref()
            .is_some_and(|name| name.starts_with("std"))
    }

    #[test]
    fn names_lose_what_a_build_adds() {
        for (name, expected) in [
            ("server::handle::h0123456789abcdef", "server::handle"),
            ("server::Pool<T>::get", "server::Pool::get"),
            ("server::get::<alloc::vec::Vec<u8>>", "server::get"),
            (
                "<app::Conn<T> as core::future::Future>::poll",
                "<app::Conn as core::future::Future>::poll",
            ),
            (
                "<&mut T as tokio::io::AsyncRead>::poll_read",
                "<&mut T as tokio::io::AsyncRead>::poll_read",
            ),
            ("app::serve::{{closure}}", "app::serve::{{closure}}"),
            (
                "app::<impl app::Serve for app::A>::run",
                "app::<impl app::Serve for app::A>::run",
            ),
            (
                "std::map<int, Foo<int> >::find(int const&)",
                "std::map::find(int const&)",
            ),
            ("Buffer::operator<<(int)", "Buffer::operator<<(int)"),
            ("main.(*Server).serve.func1", "main.(*Server).serve.func1"),
            ("main.Map[go.shape.int].Get", "main.Map.Get"),
            ("<module>", "<module>"),
            ("outer.<locals>.inner", "outer.<locals>.inner"),
            ("read_body.constprop.0", "read_body"),
            ("read_body [clone .isra.0]", "read_body"),
            (
                "Server$$Lambda$14/0x0000000800c03000.run",
                "Server$$Lambda.run",
            ),
            ("Server$$Lambda/0x00007f1c.run", "Server$$Lambda.run"),
        ] {
            assert_eq!(plain(name), expected, "{name}");
        }
        for (name, expected) in [
            ("python3.11", "python"),
            ("server-1.4.2", "server"),
            ("suite-0123456789abcdef", "suite"),
            ("libcurl.so.4.8.0", "libcurl"),
            ("server", "server"),
            ("7", "7"),
        ] {
            assert_eq!(unversioned(name), expected);
        }
    }

    /// Users keep these in baselines for years. No change of the code may change them under one scheme.
    #[test]
    fn a_fingerprint_is_the_same_in_every_version() {
        let stack = [
            frame("std::net::read", ""),
            frame("read_body", "/build/7f3a/src/http.c"),
            frame("", ""),
            frame("handle::<Request>", "/build/7f3a/src/conn.c"),
            frame("std::run", ""),
            frame("accept_loop", ""),
            frame("main", ""),
        ];
        let said = subject("/opt/v2/server-2.0", &stack, stack.get(1), own);
        assert_eq!(
            said,
            "server|read_body(http.c)|handle(conn.c)|accept_loop()"
        );
        assert_eq!(hash(&said), "1-6d6d675e6def6d16");
        let nameless = [
            Frame {
                module: Some("libc.so.6".to_owned()),
                ..frame("std read", "")
            },
            Frame {
                module: Some("[jit]".to_owned()),
                ..frame("", "")
            },
            Frame {
                module: Some("python3.11".to_owned()),
                ..frame("", "")
            },
        ];
        let said = subject("/usr/bin/python3.11", &nameless, None, own);
        assert_eq!(said, "python||std read()|python");
        assert_eq!(hash(&said), "1-3c09d16cb767f129");
    }

    #[test]
    fn lines_paths_offsets_and_builds_do_not_matter() {
        let stack = |line, offset, folder: &str| {
            [Frame {
                line: Some(line),
                offset,
                build_id: Some(format!("{offset:x}")),
                ..frame("handle", &format!("{folder}/conn.c"))
            }]
        };
        let of = |stack: &[Frame]| subject("/usr/bin/server", stack, stack.first(), own);
        assert_eq!(of(&stack(1, 2, "/a")), of(&stack(3, 4, "/b/c")));
    }
}
