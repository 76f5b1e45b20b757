//! C programs, built the ways that make unwinding and naming hard.

use std::fmt::Write;
use std::process::Command;

use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
use super::{follows, functions, named, resolve};

const NO_FP: [&str; 2] = ["-O2", "-fomit-frame-pointer"];

#[test]
fn the_direct_caller_of_recv_is_found_without_frame_pointers() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &NO_FP), SYS_RECVFROM);
    let found = resolve(&server);
    let names = functions(&found.stack.frames);
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{names:?}"
    );
    assert!(follows(&found.stack.frames, "serve", "main"), "{names:?}");
    assert!(!found.stack.truncated, "{names:?}");
    assert_eq!(found.warnings, []);
    let frame = named(&found, "handle_client");
    assert_eq!(frame.module.as_deref(), Some("server"));
    assert_eq!(frame.build_id.as_ref().map(String::len), Some(40));
    assert_eq!(frame.file, None);
    let outermost = names.last().copied();
    assert!(matches!(outermost, Some("_start")), "{names:?}");
}

#[test]
fn debug_information_gives_file_and_line() {
    let shop = Workshop::new();
    for dwarf in ["-gdwarf-4", "-gdwarf-5", "-gz"] {
        let program = shop.c(
            "server",
            SERVER,
            &["-O2", "-fomit-frame-pointer", "-g", dwarf],
        );
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        let frame = named(&found, "handle_client");
        assert!(
            frame.file.as_deref().unwrap().ends_with("server.c"),
            "{frame:?}"
        );
        assert_eq!(frame.line, Some(6), "{dwarf}");
        assert_eq!(named(&found, "serve").line, Some(11), "{dwarf}");
    }
}

#[test]
fn a_function_split_into_hot_and_cold_pieces_keeps_its_name() {
    let source = SERVER
        .replace("int main", "__attribute__((cold)) void fail(long got) { volatile long x = got; (void)x; }\nint main")
        .replace("#define KEEP", "__attribute__((cold, noinline)) void fail(long);\n#define KEEP")
        .replace("    return got +", "    if (got < -7) { fail(got); fail(salt); }\n    return got +");
    let shop = Workshop::new();
    for options in [&["-O2", "-g"][..], &["-O2"]] {
        let program = shop.c("server", &source, options);
        let symbols = Command::new("nm").arg(&program).output().unwrap().stdout;
        assert!(
            String::from_utf8(symbols)
                .unwrap()
                .contains("handle_client.cold")
        );
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        assert!(
            follows(&found.stack.frames, "handle_client", "serve"),
            "{options:?} {found:#?}"
        );
    }
}

#[test]
fn offsets_are_addresses_in_the_elf_file() {
    let shop = Workshop::new();
    for extra in ["-pie", "-no-pie", "-static", "-static-pie"] {
        let program = shop.c("server", SERVER, &["-O2", extra]);
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        let frame = named(&found, "handle_client");
        let symbols = Command::new("nm")
            .args(["-S"])
            .arg(&program)
            .output()
            .unwrap();
        let symbols = String::from_utf8(symbols.stdout).unwrap();
        let line = symbols
            .lines()
            .find(|line| line.ends_with(" handle_client"))
            .unwrap();
        let hex = |at| u64::from_str_radix(line.split(' ').nth(at).unwrap(), 16).unwrap();
        let (start, size) = (hex(0), hex(1));
        assert!(
            (start + 1..=start + size).contains(&frame.offset),
            "{extra} {frame:?} {line}"
        );
    }
}

#[test]
fn twenty_five_functions_deep() {
    let mut source =
        String::from("#include <sys/socket.h>\n#define KEEP __attribute__((noinline, noclone))\n");
    source.push_str("KEEP long f0(int fd) { char b[8]; return recv(fd, b, 8, 0) + b[0]; }\n");
    for level in 1..25 {
        // Frames of different sizes, so that a wrong rule lands on a wrong slot.
        writeln!(
            source,
            "KEEP long f{level}(int fd) {{ volatile char pad[{}]; pad[0] = 1; return f{}(fd) + pad[0]; }}",
            level * 13,
            level - 1
        )
        .unwrap();
    }
    source.push_str("int main(void) { int p[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, p); return f24(p[0]) + 1; }\n");
    let shop = Workshop::new();
    let found = resolve(&Blocked::start(
        &shop.c("deep", &source, &NO_FP),
        SYS_RECVFROM,
    ));
    let names = functions(&found.stack.frames);
    let first = names.iter().position(|name| *name == "f0").unwrap();
    let expected: Vec<String> = (0..25).map(|level| format!("f{level}")).collect();
    assert_eq!(names[first..first + 25], expected);
    assert_eq!(names[first + 25], "main");
    assert!(!found.stack.truncated);
}

#[test]
fn static_programs_unwind_to_the_end() {
    let shop = Workshop::new();
    for kind in ["-static", "-static-pie"] {
        let program = shop.c("server", SERVER, &["-O2", "-fomit-frame-pointer", kind]);
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        assert!(
            follows(&found.stack.frames, "handle_client", "serve"),
            "{kind} {found:#?}"
        );
        assert!(!found.stack.truncated, "{kind} {found:#?}");
    }
}

#[test]
fn a_stripped_program_gets_addresses_and_no_neighbours_name() {
    let shop = Workshop::new();
    for options in [&["-O2", "-rdynamic"][..], &["-O2"], &["-O2", "-static"]] {
        let program = shop.c("server", SERVER, options);
        let named_before = {
            let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
            named(&found, "serve").clone()
        };
        shop.strip(&program);
        let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
        let frames = found.stack.frames.iter();
        let frame = frames
            .clone()
            .find(|frame| frame.offset == named_before.offset)
            .unwrap();
        let expected = options.contains(&"-rdynamic").then_some("serve");
        assert_eq!(frame.function.as_deref(), expected, "{options:?}");
        assert_eq!(frame.module.as_deref(), Some("server"));
        assert_eq!(frame.build_id, named_before.build_id);
        if !options.contains(&"-rdynamic") {
            let own = frames.filter(|frame| frame.module.as_deref() == Some("server"));
            assert!(own.clone().count() >= 3);
            assert!(
                own.into_iter().all(|frame| frame.function.is_none()),
                "{found:#?}"
            );
        }
    }
}

#[test]
fn a_partly_stripped_program_gets_no_neighbours_name() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2"]);
    shop.run("strip", &["-K", "main", "-K", "handle_client", "server"]);
    let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
    assert!(
        follows(&found.stack.frames, "handle_client", "?"),
        "{found:#?}"
    );
    assert!(follows(&found.stack.frames, "?", "main"), "{found:#?}");
}

#[test]
fn a_copy_that_ends_early_is_said_to() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &NO_FP), SYS_RECVFROM);
    let mut copy = server.copy();
    let whole = super::Symbolizer::new().resolve(&copy.view());
    copy.bytes.truncate(200);
    let cut = super::Symbolizer::new().resolve(&copy.view());
    assert!(cut.stack.truncated);
    assert!(cut.stack.frames.len() < whole.stack.frames.len());
    assert_eq!(
        cut.stack.frames,
        whole.stack.frames[..cut.stack.frames.len()]
    );
    copy.bytes.clear();
    let none = super::Symbolizer::new().resolve(&copy.view());
    assert_eq!((none.stack.frames.len(), none.stack.truncated), (1, true));
}

#[test]
fn an_unknown_frame_pointer_does_not_end_a_stack() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2", "-fno-omit-frame-pointer"]);
    let server = Blocked::start(&program, SYS_RECVFROM);
    let mut copy = server.copy();
    let whole = super::Symbolizer::new().resolve(&copy.view());
    assert!(!whole.stack.truncated && functions(&whole.stack.frames).contains(&"main"));
    copy.fp = 0;
    let cut = super::Symbolizer::new().resolve(&copy.view());
    assert!(cut.stack.truncated, "{cut:#?}");
}

#[test]
fn random_stack_contents_invent_no_frames_outside_code() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &NO_FP), SYS_RECVFROM);
    let mut copy = server.copy();
    let mut symbolizer = super::Symbolizer::new();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        for chunk in copy.bytes.chunks_exact_mut(8) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            chunk.copy_from_slice(&state.to_le_bytes());
        }
        copy.fp = state;
        let found = symbolizer.resolve(&copy.view());
        assert!(found.stack.truncated);
        assert_eq!(found.stack.frames.len(), 1, "{found:#?}");
    }
}
