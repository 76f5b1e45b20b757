//! Code that a program makes while it runs, with and without a list of its names.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::program::{Blocked, SYS_READ, Workshop};
use super::{Symbolizer, functions};
use crate::symbolize::{Resolved, Warning, blame};

/// `main` → `outer` → made code → `inner` → made code → `wait`. The first piece of made code is
/// like Python's, without a frame pointer; the second like that of V8, with one.
const HOST: &str = r"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#define KEEP __attribute__((noinline, noclone))
typedef long (*code)(int, long (*)(int));
static const unsigned char plain[] = {0x48, 0x83, 0xec, 8, 0xff, 0xd6, 0x48, 0x83, 0xc4, 8, 0xc3};
static const unsigned char framed[] = {0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x40, 0xff, 0xd6, 0xc9, 0xc3};
static char *made;
KEEP long wait_here(int fd) { char b[8]; long n = read(fd, b, 8); return n + b[0]; }
KEEP long inner(int fd) { return ((code)(made + 64))(fd, wait_here) + 1; }
KEEP long outer(int fd) { return ((code)made)(fd, inner) + 1; }
int main(void) {
    /* Where a list of names can say it beforehand. */
    made = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (made != (char *)0x10000000) return 1;
    memcpy(made, plain, sizeof plain);
    memcpy(made + 64, framed, sizeof framed);
    return (int)outer(0) & 1;
}
";

struct List(PathBuf);

impl List {
    fn of(blocked: &Blocked, text: &str) -> Self {
        let list = Self(PathBuf::from(format!("/tmp/perf-{}.map", blocked.pid())));
        std::fs::write(&list.0, text).unwrap();
        list.mode(0o600);
        list
    }

    fn mode(&self, bits: u32) {
        std::fs::set_permissions(&self.0, PermissionsExt::from_mode(bits)).unwrap();
    }
}

impl Drop for List {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn start(shop: &Workshop) -> Blocked {
    let program = shop.c("host", HOST, &["-O2", "-fomit-frame-pointer"]);
    Blocked::start(Path::new(&program), SYS_READ)
}

fn resolve(blocked: &Blocked) -> Resolved {
    Symbolizer::new().resolve(&blocked.copy().view())
}

#[test]
fn listed_code_has_its_names_and_is_blamed() {
    let shop = Workshop::new();
    let host = start(&shop);
    let text = "10000000 b py::Server.handle:/srv/app.py\n10000040 c JS:*onEnd /srv/app.js:3:4\n";
    let _list = List::of(&host, text);
    let found = resolve(&host);
    let frames = &found.stack.frames;
    let names = functions(frames);
    let expected = [
        "wait_here",
        "onEnd",
        "inner",
        "Server.handle",
        "outer",
        "main",
    ];
    assert_eq!(names[1..7], expected, "{found:#?}");
    assert_eq!(frames[2].module.as_deref(), Some("[jit]"));
    assert_eq!(frames[2].file.as_deref(), Some("/srv/app.js"));
    assert!(!found.stack.truncated);
    assert_eq!(found.warnings, []);
    assert_eq!(blame::blamed(&frames[2..]), Some(0));
}

#[test]
fn code_without_names_is_walked_through_and_said_to_have_none() {
    let shop = Workshop::new();
    let host = start(&shop);
    let found = resolve(&host);
    let names = functions(&found.stack.frames);
    let expected = ["wait_here", "?", "inner", "?", "outer", "main"];
    assert_eq!(names[1..7], expected, "{found:#?}");
    assert!(!found.stack.truncated);
    assert!(
        matches!(&found.warnings[..], [Warning::JitUnnamed { .. }]),
        "{:?}",
        found.warnings
    );
}

#[test]
fn a_list_that_others_can_write_is_refused_and_not_quoted() {
    let shop = Workshop::new();
    let host = start(&shop);
    let list = List::of(&host, "10000000 b planted\n10000040 c planted\n");
    list.mode(0o666);
    let found = resolve(&host);
    assert!(!functions(&found.stack.frames).contains(&"planted"));
    let text = format!("{:?}", found.warnings);
    assert!(
        text.contains("JitListRefused") && !text.contains("planted"),
        "{text}"
    );
}

#[test]
fn a_list_is_read_again_when_it_has_grown() {
    let shop = Workshop::new();
    let host = start(&shop);
    let list = List::of(&host, "10000000 b first\n");
    let mut symbolizer = Symbolizer::new();
    let before = symbolizer.resolve(&host.copy().view());
    assert!(functions(&before.stack.frames).contains(&"first"));
    std::fs::write(&list.0, "10000000 b first\n10000000 b second\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let after = symbolizer.resolve(&host.copy().view());
    let names = functions(&after.stack.frames);
    assert!(
        names.contains(&"second") && !names.contains(&"first"),
        "{names:?}"
    );
}
