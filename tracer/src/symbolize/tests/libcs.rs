//! C programs as different C libraries, linkers and options build them.

use std::path::PathBuf;
use std::process::Command;

use super::program::{Blocked, SERVER, SYS_READ, SYS_RECVFROM, Workshop};
use super::{follows, functions, named, resolve};
use crate::symbolize::{Resolved, blame};

/// Waits inside a signal handler.
const SIGNAL: &str = r"
#include <signal.h>
#include <unistd.h>
#include <sys/types.h>
#define KEEP __attribute__((noinline, noclone))
static int sink;
KEEP long on_alarm_read(int fd) { char b[8]; long n = read(fd, b, 8); return n + b[0]; }
KEEP void on_signal(int nr) { sink += (int)on_alarm_read(0) + nr; }
KEEP long interrupted(long n) { long s = n; kill(getpid(), SIGUSR1); return s + sink; }
int main(void) { signal(SIGUSR1, on_signal); return (int)(interrupted(3) & 1); }
";
/// Many calls deep, a frame of a size known only at run time, and a call in the last place, which
/// leaves no frame.
const SHAPES: &str = r"
#include <alloca.h>
#include <string.h>
#include <unistd.h>
#define KEEP __attribute__((noinline, noclone))
KEEP long last(int fd, char *b) { long n = read(fd, b, 8); return n + b[0]; }
KEEP long tail(int fd, char *b) { b[0] = 1; return last(fd, b); }
KEEP long room(int fd, int n) { char *b = alloca((unsigned)n * 64); memset(b, 0, 64); long r = tail(fd, b); return r + b[1]; }
KEEP long deep(int fd, int n) { volatile long s = n; if (n == 0) return room(fd, (int)getpid() & 15 | 8); s += deep(fd, n - 1); return s; }
int main(void) { return (int)(deep(0, 22) & 1); }
";

const NO_FP: [&str; 2] = ["-O2", "-fomit-frame-pointer"];

/// Each C library, static and not.
fn everywhere(shop: &Workshop, name: &str, source: &str) -> Vec<PathBuf> {
    let builds = [
        ("musl-gcc", "musl", &[][..]),
        ("musl-gcc", "musl-static", &["-static"]),
        ("gcc", "glibc", &[]),
        ("gcc", "glibc-static", &["-static"]),
        ("gcc", "glibc-static-pie", &["-static-pie", "-fPIE"]),
    ];
    let build = |(compiler, kind, more): (&str, &str, &[&str])| {
        let options = [&NO_FP, more].concat();
        let program = format!("{name}-{kind}");
        shop.compile(
            compiler,
            &program,
            &format!("{program}.c"),
            source,
            &options,
        )
    };
    builds.map(build).to_vec()
}

fn blamed(found: &Resolved) -> Option<&str> {
    let frames = &found.stack.frames;
    frames.get(blame::blamed(frames)?)?.function.as_deref()
}

#[test]
fn every_c_library_leads_to_its_caller_and_to_the_end() {
    let shop = Workshop::new();
    for program in everywhere(&shop, "server", SERVER) {
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        let frames = &found.stack.frames;
        assert!(follows(frames, "handle_client", "serve"), "{found:#?}");
        assert!(follows(frames, "serve", "main"), "{found:#?}");
        assert_eq!(blamed(&found), Some("handle_client"), "{found:#?}");
        assert!(!found.stack.truncated, "{found:#?}");
    }
}

#[test]
fn a_signal_handler_is_left_to_what_it_interrupted() {
    let shop = Workshop::new();
    for program in everywhere(&shop, "signal", SIGNAL) {
        let found = resolve(&Blocked::start(&program, SYS_READ));
        let frames = &found.stack.frames;
        assert!(follows(frames, "on_alarm_read", "on_signal"), "{found:#?}");
        assert!(follows(frames, "interrupted", "main"), "{found:#?}");
        assert_eq!(blamed(&found), Some("on_alarm_read"), "{found:#?}");
        assert!(!found.stack.truncated, "{found:#?}");
    }
}

#[test]
fn deep_calls_sized_frames_and_last_calls() {
    let shop = Workshop::new();
    for program in everywhere(&shop, "shapes", SHAPES) {
        let found = resolve(&Blocked::start(&program, SYS_READ));
        let names = functions(&found.stack.frames);
        // `tail` was replaced by `last` on the stack.
        let mut expected = vec!["last", "room"];
        expected.extend(["deep"; 22]);
        expected.push("main");
        let first = names.iter().position(|name| *name == "last").unwrap();
        assert_eq!(names[first..first + expected.len()], expected, "{found:#?}");
        assert_eq!(blamed(&found), Some("last"));
    }
}

#[test]
fn stripped_static_programs_have_addresses_and_nobody_elses_names() {
    let shop = Workshop::new();
    for program in everywhere(&shop, "server", SERVER) {
        let whole = resolve(&Blocked::start(&program, SYS_RECVFROM));
        shop.strip(&program);
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        let module = program.file_name().unwrap().to_str().unwrap();
        let own = |found: &Resolved| -> Vec<u64> {
            let frames = found.stack.frames.iter();
            let own = frames.filter(|frame| frame.module.as_deref() == Some(module));
            own.map(|frame| frame.offset).collect()
        };
        // The same places, and none of them named.
        assert_eq!(own(&found), own(&whole));
        assert!(own(&found).len() >= 4, "{found:#?}");
        let mut frames = found.stack.frames.iter();
        let named = frames
            .find(|frame| frame.module.as_deref() == Some(module) && frame.function.is_some());
        assert_eq!(named, None);
    }
}

#[test]
fn exported_names_survive_stripping() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2", "-flto", "-rdynamic"]);
    shop.strip(&program);
    let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
}

#[test]
fn link_time_optimization_keeps_inlined_functions() {
    let shop = Workshop::new();
    let source = SERVER.replace(
        "KEEP long serve",
        "static inline __attribute__((always_inline)) long round_trip(int fd, long salt) {\n\
         return handle_client(fd, salt) + 1; }\nKEEP long serve",
    );
    let source = source.replace("total += handle_client", "total += round_trip");
    let program = shop.c("server", &source, &["-O2", "-flto", "-g"]);
    let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
    assert!(named(&found, "round_trip").inlined, "{found:#?}");
    assert!(!named(&found, "serve").inlined);
    assert_eq!(named(&found, "handle_client").line, Some(6));
}

#[test]
fn a_library_loaded_later_is_known() {
    let shop = Workshop::new();
    let (head, _) = SERVER.split_once("int main").unwrap();
    shop.c("plugin.so", head, &["-O2", "-g", "-shared", "-fPIC"]);
    let host = r#"
#include <dlfcn.h>
#include <unistd.h>
#include <sys/socket.h>
int main(void) {
    int pair[2];
    char go;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
    if (read(0, &go, 1) != 1) return 2;
    void *plugin = dlopen("./plugin.so", RTLD_NOW);
    if (!plugin) return 3;
    long (*serve)(int) = (long (*)(int))dlsym(plugin, "serve");
    return (int)serve(pair[0]) & 1;
}
"#;
    let program = shop.c("host", host, &["-O2"]);
    let mut server = Blocked::run(Command::new(program).current_dir(shop.path("")), SYS_READ);
    let mut symbolizer = super::Symbolizer::new();
    let before = symbolizer.resolve(&server.copy().view());
    assert!(
        functions(&before.stack.frames).contains(&"main"),
        "{before:#?}"
    );
    server.answer(SYS_RECVFROM);
    // Longer than a list of mappings is trusted for addresses that it lacks.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let found = symbolizer.resolve(&server.copy().view());
    assert!(follows(&found.stack.frames, "serve", "main"), "{found:#?}");
    let client = named(&found, "handle_client");
    assert_eq!(client.module.as_deref(), Some("plugin.so"));
    assert_eq!(client.line, Some(6));
}
