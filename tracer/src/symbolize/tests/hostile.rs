//! Files and processes made to harm whoever looks at them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
use super::{Symbolizer, follows, functions, resolve};
use crate::symbolize::Warning;
use crate::symbolize::image::Image;
use crate::symbolize::names::Names;
use crate::symbolize::tables;

#[test]
fn unwind_tables_that_loop_are_not_followed() {
    let shop = Workshop::new();
    // DW_CFA_def_cfa_expression of three bytes: DW_OP_skip to itself.
    let source = SERVER.replace(
        "    char buffer[64];",
        "    char buffer[64]; __asm__ volatile(\".cfi_escape 0x0f, 3, 0x2f, 0xfd, 0xff\");",
    );
    let program = shop.c("server", &source, &["-O2"]);
    let server = Blocked::start(&program, SYS_RECVFROM);
    let begin = Instant::now();
    let found = resolve(&server);
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(found.stack.truncated);
    let names = functions(&found.stack.frames);
    assert_eq!(names.last(), Some(&"handle_client"), "{names:?}");
}

fn library_server(shop: &Workshop) -> Blocked {
    let (head, main) = SERVER.split_once("int main").unwrap();
    shop.c("libwork.so", head, &["-O2", "-g", "-shared", "-fPIC"]);
    let main = format!("#include <sys/socket.h>\nlong serve(int);\nint main{main}");
    let program = shop.c(
        "server",
        &main,
        &["-O2", "-L.", "-lwork", "-Wl,-rpath,$ORIGIN"],
    );
    Blocked::run(&mut Command::new(program), SYS_RECVFROM)
}

#[test]
fn a_library_truncated_after_it_was_named_kills_nobody() {
    let shop = Workshop::new();
    let server = library_server(&shop);
    let copy = server.copy();
    let mut symbolizer = Symbolizer::new();
    let before = symbolizer.resolve(&copy.view());
    assert!(
        follows(&before.stack.frames, "handle_client", "serve"),
        "{before:#?}"
    );
    fs::File::create(shop.path("libwork.so")).unwrap();
    let after = symbolizer.resolve(&copy.view());
    assert_eq!(after.stack, before.stack);
}

#[test]
fn a_library_truncated_before_it_was_named_is_said_to_be_unusable() {
    let shop = Workshop::new();
    let server = library_server(&shop);
    let copy = server.copy();
    let mut symbolizer = Symbolizer::new();
    symbolizer.warm(copy.pid);
    fs::File::create(shop.path("libwork.so")).unwrap();
    let (pid, module) = (copy.pid, "libwork.so".to_owned());
    let found = symbolizer.resolve(&copy.view());
    assert_eq!(found.warnings, [Warning::FileReplaced { pid, module }]);
    let module = "libwork.so".to_owned();
    let found = Symbolizer::new().resolve(&copy.view());
    let reason = "not a 64-bit ELF".to_owned();
    assert_eq!(
        found.warnings,
        [Warning::NotAProgram {
            pid,
            module,
            reason
        }]
    );
    assert!(found.stack.truncated);
}

#[test]
fn links_inside_a_file_open_no_other_file() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2", "-g"]);
    // A FIFO where the link leads: opening it would block for ever.
    shop.run("objcopy", &["--only-keep-debug", "server", "link.debug"]);
    shop.run(
        "objcopy",
        &["--strip-debug", "--add-gnu-debuglink=link.debug", "server"],
    );
    fs::remove_file(shop.path("link.debug")).unwrap();
    shop.run("mkfifo", &["link.debug"]);
    let server = Blocked::start(&program, SYS_RECVFROM);
    let begin = Instant::now();
    let found = resolve(&server);
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
    assert_eq!(super::named(&found, "serve").line, None);
}

#[test]
fn damaged_files_neither_panic_nor_hang() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2", "-g"]);
    let good = fs::read(program).unwrap();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let tables_at = good.len() - 64 * 40;
    let begin = Instant::now();
    let mut parsed = 0;
    for round in 0..400 {
        let mut bytes = good.clone();
        for _ in 0..=random(8) {
            // Headers decide where everything else is: damage them most.
            let at = match round % 3 {
                0 => random(1024),
                1 => tables_at + random(64 * 40),
                _ => random(good.len()),
            };
            bytes[at] = random(256) as u8;
        }
        if round % 10 == 0 {
            bytes.truncate(random(good.len()));
        }
        let Ok(image) = Image::from_memory(&bytes) else {
            continue;
        };
        parsed += 1;
        let mut names = Names::load(&image, true);
        for address in (0x1000..0x1400).step_by(7) {
            tables::cover(&image.sections, address);
            names.at(&image, address);
        }
    }
    assert!(parsed > 100, "{parsed}");
    assert!(begin.elapsed() < Duration::from_mins(2));
}

/// Headers, symbols, unwind tables, DWARF of the smallest program that has them.
#[test]
fn small_damaged_programs_are_read() {
    crate::damaged::run("elf", 1500, |bytes| {
        let Ok(image) = Image::from_memory(bytes) else {
            return;
        };
        let mut names = Names::load(&image, true);
        for address in (0x0040_0000..0x0040_0200).step_by(13) {
            tables::cover(&image.sections, address);
            tables::plain_row(&image.sections, address);
            names.at(&image, address);
        }
    });
}

/// Looks like CPython 3.8 to whoever reads it, with lists that lead back to themselves. With a letter of its argument
/// a list is a circle: of interpreters, threads or frames; with `w` another thread rewrites all pointers all the time.
const FALSE_PYTHON: &str = r"
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
unsigned long _PyRuntime[64], PyCode_Type[64], Py_Version = 0x030800f0;
static unsigned long interpreter[64], state[64], frame[64], code[64], name[600], bytecode[64];
static void link_all(const char *how) {
    _PyRuntime[4] = (unsigned long)interpreter;
    interpreter[0] = strchr(how, 'i') ? (unsigned long)interpreter : 0;
    interpreter[1] = (unsigned long)state;
    state[1] = strchr(how, 't') ? (unsigned long)state : 0;
    state[3] = (unsigned long)frame;
    frame[3] = strchr(how, 'f') ? (unsigned long)frame : 0;
    frame[4] = (unsigned long)code;
    code[0] = 1;
    code[1] = (unsigned long)PyCode_Type;
    code[5] = 7;
    code[6] = (unsigned long)bytecode;
    code[13] = code[14] = (unsigned long)name;
    code[15] = (unsigned long)bytecode;
    bytecode[2] = 8;
    name[2] = 4096;
    name[4] = 1 << 2 | 1 << 5 | 1 << 6;
    memset(name + 6, 'x', 4096);
}
static void *rewrite(void *how) {
    for (unsigned long n = 0;; n++) {
        unsigned long *all[] = {_PyRuntime, interpreter, state, frame, code, name};
        all[n % 6][n / 6 % 24] = n % 5 ? (unsigned long)all[n / 7 % 6] : n << 40;
        if (n % 64 == 0) { link_all(how); state[22] = *(unsigned long *)((char *)how + 8); }
    }
}
int main(int count, char **arguments) {
    static char how[16];
    int pair[2];
    strncpy(how, arguments[1], 7);
    link_all(how);
    unsigned long self = (unsigned long)pthread_self();
    state[22] = self;
    memcpy(how + 8, &self, 8);
    pthread_t thread;
    if (strchr(how, 'w')) pthread_create(&thread, 0, rewrite, how);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) return 1;
    return recv(pair[0], how, 1, 0);
}
";

#[test]
fn a_process_that_lies_about_its_runtime_costs_little_and_says_no_more_than_names() {
    let shop = Workshop::new();
    let program = shop.c("false", FALSE_PYTHON, &["-O1", "-rdynamic", "-pthread"]);
    for how in ["-", "i", "t", "f", "itf", "w", "witf"] {
        let server = Blocked::run(Command::new(&program).arg(how), SYS_RECVFROM);
        let copy = server.present();
        let mut symbolizer = Symbolizer::new();
        for _ in 0..if how.contains('w') { 20 } else { 1 } {
            let begin = Instant::now();
            let found = symbolizer.resolve(&copy.view());
            assert!(begin.elapsed() < Duration::from_secs(8), "{how}");
            let frames = &found.stack.frames;
            assert!(
                !frames.is_empty() && frames.len() <= 130,
                "{how}: {found:#?}"
            );
            let managed = frames.iter().filter(|frame| frame.is_managed());
            for frame in managed {
                let name = frame.function.as_deref().unwrap();
                assert!(name.len() <= 512, "{how}: {name}");
            }
        }
    }
    // Told as it is where it is plausible, and of a thread that several records claim nothing.
    let told = |how| {
        let server = Blocked::run(Command::new(&program).arg(how), SYS_RECVFROM);
        let found = Symbolizer::new().resolve(&server.present().view());
        let managed = found.stack.frames.iter().filter(|frame| frame.is_managed());
        (managed.count(), found.stack.truncated)
    };
    assert_eq!(told("-"), (1, false));
    assert_eq!(told("f"), (128, true));
    assert_eq!(told("i").0, 0);
}

#[test]
fn a_process_that_ends_before_its_memory_is_read_leaves_what_was_copied() {
    let shop = Workshop::new();
    let program = shop.c("false", FALSE_PYTHON, &["-O1", "-rdynamic", "-pthread"]);
    let mut server = Blocked::run(Command::new(&program).arg("-"), SYS_RECVFROM);
    let copy = server.present();
    let mut symbolizer = Symbolizer::new();
    symbolizer.warm(copy.pid);
    server.end();
    let found = symbolizer.resolve(&copy.view());
    assert!(!found.stack.frames.is_empty());
    assert!(
        !found
            .stack
            .frames
            .iter()
            .any(crate::model::stack::Frame::is_managed)
    );
}
