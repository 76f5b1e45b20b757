//! Code without unwind tables: hand-written C libraries, assembly, Go.

use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
use super::{follows, functions, resolve};

/// A C library's path to the kernel as musl has it: no unwind tables, no frame pointers, several
/// functions deep.
const BARE_WRAPPERS: &str = r#"
#define KEEP __attribute__((noinline, noclone))
KEEP long raw_call(long nr, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long ret;
    __asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return ret;
}
KEEP long cancellable(long nr, long a, long b, long c, long d, long e, long f) {
    long ret = raw_call(nr, a, b, c, d, e, f);
    return ret == -4 ? raw_call(nr, a, b, c, d, e, f) : ret;
}
KEEP long my_receive(int fd, void *buffer, unsigned long size, int flags) {
    return cancellable(45, fd, (long)buffer, (long)size, flags, 0, 0) + 1;
}
"#;

fn bare_server(shop: &Workshop, app_options: &[&str]) -> std::path::PathBuf {
    let bare = [
        "-c",
        "-O2",
        "-fomit-frame-pointer",
        "-fno-asynchronous-unwind-tables",
    ];
    let object = shop.c("wrappers.o", BARE_WRAPPERS, &bare);
    let source = SERVER
        .replace(
            "#define KEEP",
            "long my_receive(int, void *, unsigned long, int);\n#define KEEP",
        )
        .replace("recv(", "my_receive(");
    let mut options = vec![object.to_str().unwrap()];
    options.extend(app_options);
    shop.c("server", &source, &options)
}

#[test]
fn callers_of_functions_without_tables_are_found_and_not_skipped() {
    let shop = Workshop::new();
    for options in [
        &["-O2", "-fomit-frame-pointer"][..],
        // The register points to the frame of `handle_client`: a chain would skip that function.
        &["-O2", "-fno-omit-frame-pointer"],
        &["-O0"],
    ] {
        let found = resolve(&Blocked::start(&bare_server(&shop, options), SYS_RECVFROM));
        let names = functions(&found.stack.frames);
        let expected = [
            "raw_call",
            "cancellable",
            "my_receive",
            "handle_client",
            "serve",
            "main",
        ];
        assert_eq!(names[..6], expected, "{options:?}");
        assert!(!found.stack.truncated);
        assert!(matches!(
            &found.warnings[..],
            [crate::symbolize::Warning::CallersSearched { module }] if module == "server"
        ));
    }
}

#[test]
fn frame_pointers_lead_through_code_without_tables() {
    let shop = Workshop::new();
    let options = [
        "-O2",
        "-fno-omit-frame-pointer",
        "-fno-asynchronous-unwind-tables",
    ];
    let program = shop.c("server", SERVER, &options);
    let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
    assert!(follows(&found.stack.frames, "serve", "main"), "{found:#?}");
    assert_eq!(found.warnings, []);
}

#[test]
fn code_without_tables_and_frame_pointers_does_not_run_on_for_ever() {
    let shop = Workshop::new();
    let options = [
        "-O2",
        "-fomit-frame-pointer",
        "-fno-asynchronous-unwind-tables",
    ];
    let program = shop.c("server", SERVER, &options);
    let found = resolve(&Blocked::start(&program, SYS_RECVFROM));
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
}

#[test]
fn go_programs_unwind_by_frame_pointer_to_a_zero() {
    let shop = Workshop::new();
    // What matters of Go: frame pointers, no tables, the section that tells, a zero at the end.
    let entry = r#"
#define KEEP __attribute__((noinline, noclone))
KEEP long raw_read(int fd, char *b) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(0), "D"(fd), "S"(b), "d"(8) : "rcx", "r11", "memory");
    return r;
}
KEEP long net_read(int fd) { char b[8]; return raw_read(fd, b) + b[0]; }
KEEP long handle(int fd) { return net_read(fd) + 1; }
void body(void) { volatile long sum = handle(0); for (;;) sum++; }
__asm__(".globl _start\n_start: push $0\n pop %rbp\n call body\n");
"#;
    let options = [
        "-O2",
        "-nostdlib",
        "-static",
        "-fno-omit-frame-pointer",
        "-fno-optimize-sibling-calls",
        "-fno-asynchronous-unwind-tables",
    ];
    let program = shop.c("gopher", entry, &options);
    let found = resolve(&Blocked::start(&program, 0));
    assert!(found.stack.truncated, "not known to be Go: {found:#?}");
    shop.run(
        "objcopy",
        &["--add-section", ".gopclntab=gopher.c", "gopher"],
    );
    let found = resolve(&Blocked::start(&program, 0));
    let names = functions(&found.stack.frames);
    assert_eq!(names[..3], ["raw_read", "net_read", "handle"], "{found:#?}");
    assert!(!found.stack.truncated, "{found:#?}");
    assert_eq!(found.warnings, []);
}
