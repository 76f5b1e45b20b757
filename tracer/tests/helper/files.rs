//! Files made to harm whoever reads them, mapped by a process and then named.

use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
use super::{has, resolve, said, symbolizer};
use tracer::symbolize::Resolved;

/// `handle_client` and `serve` in a library, which can be written to while it is mapped.
fn library(shop: &Workshop, options: &[&str]) -> String {
    let (head, _) = SERVER.split_once("int main").unwrap();
    let mut all = vec!["-O2", "-shared", "-fPIC"];
    all.extend(options);
    shop.c("libwork.so", head, &all);
    shop.path("libwork.so").to_str().unwrap().to_owned()
}

fn server(shop: &Workshop) -> Blocked {
    let (_, main) = SERVER.split_once("int main").unwrap();
    let main = format!("#include <sys/socket.h>\nlong serve(int);\nint main{main}");
    let options = ["-O2", "-L.", "-lwork", "-Wl,-rpath,$ORIGIN"];
    let program = shop.c("server", &main, &options);
    Blocked::run(&mut Command::new(program), SYS_RECVFROM)
}

/// Neither a name nor a neighbour's for what is in the library, but where it is.
fn assert_unnamed(found: &Resolved) {
    let frames = found.stack.frames.iter();
    let mut inside = frames.filter(|frame| frame.module.as_deref() == Some("libwork.so"));
    assert!(inside.clone().count() >= 1, "{found:#?}");
    assert!(inside.all(|frame| frame.function.is_none()), "{found:#?}");
    assert!(said(found).contains("libwork.so"), "{found:#?}");
}

#[test]
fn a_truncated_file_costs_its_names() {
    let shop = Workshop::new();
    let path = library(&shop, &["-g"]);
    let server = server(&shop);
    let bytes = fs::read(&path).unwrap();
    for length in [0, 10, 64, 1000, bytes.len() - 64] {
        fs::write(&path, &bytes[..length]).unwrap();
        let mut symbolizer = symbolizer();
        let found = resolve(&mut symbolizer, &server.copy());
        assert_unnamed(&found);
        assert!(symbolizer.helper().is_some());
    }
}

#[test]
fn a_file_truncated_while_it_is_in_use_kills_nobody() {
    let shop = Workshop::new();
    let path = library(&shop, &["-g"]);
    let server = server(&shop);
    let mut symbolizer = symbolizer();
    let copy = server.copy();
    let before = resolve(&mut symbolizer, &copy);
    assert!(has(&before, "handle_client"), "{before:#?}");
    let helper = symbolizer.helper();
    File::create(&path).unwrap();
    let after = resolve(&mut symbolizer, &copy);
    assert_eq!(after, before);
    assert_eq!(symbolizer.helper(), helper);
}

/// The loader does not look at sections, so the program runs whatever they say.
#[test]
fn a_sparse_file_of_4_gib_is_not_read_as_a_whole() {
    let shop = Workshop::new();
    let path = library(&shop, &[]);
    let server = server(&shop);
    let file = File::options().write(true).open(&path).unwrap();
    for header in section_headers(&path) {
        // All of them claim everything.
        let size = header + 32;
        file.write_all_at(&(4_u64 << 30).to_le_bytes(), size)
            .unwrap();
    }
    file.set_len(4 << 30).unwrap();
    let mut symbolizer = symbolizer();
    let found = resolve(&mut symbolizer, &server.copy());
    assert_unnamed(&found);
    let pid = symbolizer.helper().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kilobytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 256 << 10, "{peak}");
}

fn section_headers(path: &str) -> impl Iterator<Item = u64> {
    let bytes = fs::read(path).unwrap();
    let first = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
    let count = u16::from_le_bytes(bytes[60..62].try_into().unwrap());
    (1..u64::from(count)).map(move |number| first + number * 64)
}

/// What is in the place of a mapped file is not opened: it might hang, or be somebody's secret.
#[test]
fn a_fifo_or_a_link_in_its_place_is_not_followed() {
    let shop = Workshop::new();
    let path = library(&shop, &[]);
    let server = server(&shop);
    fs::remove_file(&path).unwrap();
    shop.run("mkfifo", &["libwork.so"]);
    let found = resolve(&mut symbolizer(), &server.copy());
    assert!(has(&found, "handle_client"), "{found:#?}");
    fs::remove_file(&path).unwrap();
    fs::write(shop.path("secret"), "top secret line\n").unwrap();
    symlink(shop.path("secret"), &path).unwrap();
    let found = resolve(&mut symbolizer(), &server.copy());
    assert!(has(&found, "handle_client"), "{found:#?}");
    assert!(!format!("{found:?}").contains("secret"));
}

/// Debug information as no compiler makes it: a function whose name is its own, 200,000 blocks
/// inside each other, and inlined calls likewise.
const KNOTTED: &str = r#"
#define SECOND(x) #x
#define TEXT(x) SECOND(x)
__asm__(
".pushsection .debug_abbrev,\"\",@progbits\n"
".byte 1,0x11,1, 0x11,1, 0x12,7, 0x13,11, 0x03,8, 0,0\n"
".byte 2,0x2e,1, 0x11,1, 0x12,7, 0x31,0x13, 0,0\n"
".byte 3,0x0b,1, 0,0\n"
".byte 4,0x1d,1, 0x31,0x13, 0x11,1, 0x12,7, 0,0\n"
".byte 0\n"
".popsection\n"
".pushsection .debug_info,\"\",@progbits\n"
"unit: .4byte end - begin\n"
"begin: .2byte 4\n"
" .4byte .debug_abbrev\n"
" .byte 8\n"
" .byte 1\n .quad handle_client\n .quad 0x1000\n .byte 12\n .asciz \"knot.c\"\n"
"cycle: .byte 2\n .quad handle_client\n .quad 0x40\n .4byte cycle - unit\n"
".rept " TEXT(DEPTH) "\n .byte 3\n .endr\n"
".rept " TEXT(DEPTH) "\n .byte 4\n .4byte cycle - unit\n .quad handle_client\n .quad 0x40\n .endr\n"
".rept " TEXT(DEPTH) "\n .byte 0,0\n .endr\n"
" .byte 0,0\n"
"end:\n"
".popsection\n");
"#;

#[test]
fn debug_information_in_circles_and_without_end_is_left() {
    let shop = Workshop::new();
    for depth in ["1", "200000"] {
        let source = SERVER.replace("int main", &format!("{KNOTTED}\nint main"));
        let define = format!("-DDEPTH={depth}");
        let program = shop.c("server", &source, &["-O2", &define]);
        let server = Blocked::start(&program, SYS_RECVFROM);
        let mut symbolizer = symbolizer();
        for _ in 0..3 {
            let found = resolve(&mut symbolizer, &server.copy());
            let frames = found.stack.frames.iter();
            let mut own = frames.filter(|frame| frame.module.as_deref() == Some("server"));
            let whole = found.stack.frames.len() > 1 && own.next().is_some();
            assert!(whole || !found.warnings.is_empty(), "{found:#?}");
            // The plain symbol or none, but no other.
            let known = ["handle_client", "serve", "main", "_start"];
            for frame in &found.stack.frames {
                if let (Some("server"), Some(name)) = (frame.module.as_deref(), &frame.function) {
                    assert!(known.contains(&name.as_str()), "{found:#?}");
                }
            }
        }
    }
}

/// A stand-in for a program with 500 MB of debug information: real symbols and lines, a large table
/// of further symbols, and text that has to be copied to get at them.
#[test]
fn a_program_with_500_mb_of_debug_information_is_named_in_bounded_memory_and_time() {
    let shop = Workshop::new();
    let mut many = String::from("__asm__(\".text\\n\"\n");
    for number in 0..50_000 {
        writeln!(
            many,
            "\".globl symbol_{number}\\n.type symbol_{number},@function\\nsymbol_{number}: nop\\n.size symbol_{number},1\\n\""
        )
        .unwrap();
    }
    many.push_str(");\n");
    let source = SERVER.replace("int main", &format!("{many}int main"));
    let program = shop.c("server", &source, &["-O2", "-g"]);
    let blob = File::create(shop.path("blob")).unwrap();
    let piece: Vec<u8> = (0..1_u32 << 20).map(|at| b'a' + (at % 23) as u8).collect();
    for at in 0..500_u64 {
        blob.write_all_at(&piece, at << 20).unwrap();
    }
    shop.run("objcopy", &["--add-section", ".debug_extra=blob", "server"]);
    assert!(fs::metadata(&program).unwrap().len() > 500 << 20);
    let server = Blocked::start(Path::new(&program), SYS_RECVFROM);
    let mut symbolizer = symbolizer();
    let found = resolve(&mut symbolizer, &server.copy());
    assert!(
        has(&found, "handle_client") && has(&found, "serve"),
        "{found:#?}"
    );
    assert_eq!(said(&found), "");
    let pid = symbolizer.helper().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmPeak"))
        .unwrap();
    let kilobytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 3 << 20, "{peak}");
}
