//! Names as compilers of other languages mangle, inline and decorate them.

use super::program::{Blocked, SYS_READ, SYS_RECVFROM, Workshop};
use super::{follows, functions, named, resolve};

const RUST: &str = r"
use std::io::Read;
use std::os::unix::net::UnixStream;

#[inline(always)]
fn read_some(stream: &mut UnixStream) -> usize {
    let mut buffer = [0u8; 64];
    stream.read(&mut buffer).unwrap_or(0)
}

#[inline(always)]
fn read_request(stream: &mut UnixStream) -> usize {
    read_some(stream) + 1
}

#[inline(never)]
fn handle_connection(stream: &mut UnixStream) -> usize {
    read_request(stream) + 2
}

fn main() {
    let (mut ours, _theirs) = UnixStream::pair().unwrap();
    let total = handle_connection(&mut ours);
    std::process::exit(total as i32 & 1);
}
";

#[test]
fn rust_inlined_frames_come_innermost_first() {
    let shop = Workshop::new();
    let program = shop.compile("rustc", "leaky", "leaky.rs", RUST, &["-O", "-g"]);
    let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
    let frames = &found.stack.frames;
    let at = frames
        .iter()
        .position(|frame| frame.function.as_deref() == Some("leaky::handle_connection"));
    let at = at.unwrap_or_else(|| panic!("{:?}", functions(frames)));
    let nest = &frames[at - 2..=at];
    let seen: Vec<_> = nest
        .iter()
        .map(|frame| {
            (
                frame.function.as_deref().unwrap(),
                frame.line.unwrap(),
                frame.inlined,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("leaky::read_some", 8, true),
            ("leaky::read_request", 13, true),
            ("leaky::handle_connection", 18, false),
        ]
    );
    assert!(nest.iter().all(|frame| frame.offset == nest[0].offset));
    assert!(nest[0].file.as_deref().unwrap().ends_with("leaky.rs"));
    assert!(!found.stack.truncated);
}

#[test]
fn rust_names_without_debug_information_have_no_hash() {
    let shop = Workshop::new();
    for mangling in ["legacy", "v0"] {
        let version = format!("-Csymbol-mangling-version={mangling}");
        let options = ["-O", &version, "-Zunstable-options"];
        // The legacy scheme is behind an unstable flag in some releases.
        let options = if mangling == "v0" {
            &options[..2]
        } else {
            &options[..1]
        };
        let program = shop.compile("rustc", "leaky", "leaky.rs", RUST, options);
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        assert!(
            follows(
                &found.stack.frames,
                "leaky::handle_connection",
                "leaky::main"
            ),
            "{mangling} {:?}",
            functions(&found.stack.frames)
        );
    }
}

#[test]
fn cpp_names_are_demangled_and_bounded() {
    let source = r"
#include <unistd.h>
#include <map>
#include <string>
#include <vector>
template <typename T> struct Pool {
    __attribute__((noinline)) long take(T &value, int fd) {
        char b[8];
        value = T();
        return read(fd, b, 8) + b[0];
    }
};
typedef std::map<std::string, std::map<std::string, std::vector<std::map<std::string, std::string>>>> Deep;
typedef std::map<std::vector<Deep>, std::map<Deep, std::vector<std::map<Deep, Deep>>>> Deeper;
namespace net {
struct Conn { __attribute__((noinline)) long handle(int fd) { Pool<Deeper> p; Deeper d; return p.take(d, fd) + 1; } };
}
int main() { net::Conn c; return c.handle(0) & 1; }
";
    let shop = Workshop::new();
    let program = shop.compile("g++", "pool", "pool.cc", source, &["-O1"]);
    let found = resolve(&Blocked::start(&program, SYS_READ));
    let names = functions(&found.stack.frames);
    assert_eq!(
        named(&found, "net::Conn::handle(int)").module.as_deref(),
        Some("pool")
    );
    let pool = names.iter().find(|name| name.starts_with("Pool<std::map<"));
    assert!(pool.is_some_and(|name| name.len() <= 512), "{names:?}");
}
