//! Interpreters whose functions are not told.

use super::*;

#[test]
fn what_an_interpreter_without_names_calls_is_its_own() {
    for (extension, library, program) in [
        ("core.so", "liblua5.3.so.0", "lua5.3"),
        ("Socket.so", "libperl.so.5.36", "perl"),
        ("sockets.so", "libtcl8.6.so", "tclsh8.6"),
        ("sockets.so", "libguile-3.0.so.1", "guile"),
    ] {
        let frames = [
            frame("libc.so.6", "recv"),
            frame(extension, "read_some"),
            frame(library, "?"),
            frame(program, "main"),
        ];
        assert_eq!(blamed(&frames), None, "{program}");
    }
    // A program that runs scripts inside is no interpreter.
    let server = [
        frame("libc.so.6", "recv"),
        frame("server", "read_for_script"),
        frame("libluajit-5.1.so.2", "lj_BC_FUNCC"),
        frame("server", "main"),
    ];
    assert_eq!(blamed(&server), Some(1));
}

/// A thread of Perl's begins in an extension module: a program that is an interpreter has no other callers.
#[test]
fn what_calls_an_interpreter_that_is_the_program_is_an_extension_module() {
    let stack = |interpreter: &str| {
        [
            frame("libc.so.6", "pthread_cond_wait"),
            frame(interpreter, "Perl_call_sv"),
            frame("threads.so", "?"),
            frame("libc.so.6", "start_thread"),
        ]
    };
    assert_eq!(blamed(&stack("perl")), None);
    assert_eq!(blamed(&stack("libperl.so.5.36")), Some(2));
}
