//! Whose code it is: processes that end, pids that are reused, files that change under a process.

use std::fs;

use super::program::{Blocked, SERVER, SYS_RECVFROM, Workshop};
use super::{Symbolizer, follows, functions, resolve};
use crate::symbolize::Warning;

#[test]
fn a_process_that_is_gone_leaves_one_address() {
    let shop = Workshop::new();
    let mut server = Blocked::start(&shop.c("server", SERVER, &["-O2"]), SYS_RECVFROM);
    let copy = server.copy();
    server.end();
    let found = Symbolizer::new().resolve(&copy.view());
    assert_eq!(found.warnings, [Warning::ProcessGone { pid: copy.pid }]);
    assert!(found.stack.truncated);
    let [frame] = &found.stack.frames[..] else {
        panic!("{found:#?}")
    };
    assert_eq!(
        (frame.offset, &frame.module, &frame.function),
        (copy.pc, &None, &None)
    );
}

#[test]
fn a_process_seen_before_it_ended_is_named_after_and_forgotten_on_request() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2"]);
    let mut server = Blocked::start(&program, SYS_RECVFROM);
    let copy = server.copy();
    let mut symbolizer = Symbolizer::new();
    symbolizer.warm(copy.pid);
    server.end();
    fs::remove_file(&program).unwrap();
    let found = symbolizer.resolve(&copy.view());
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
    assert!(!found.stack.truncated);
    symbolizer.forget(copy.pid);
    let found = symbolizer.resolve(&copy.view());
    assert_eq!(found.warnings, [Warning::ProcessGone { pid: copy.pid }]);
}

#[test]
fn another_process_with_the_same_pid_lends_no_names() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &["-O2"]), SYS_RECVFROM);
    let mut copy = server.copy();
    copy.start_boot_ns -= 1_000_000_000;
    let mut symbolizer = Symbolizer::new();
    symbolizer.warm(copy.pid);
    let found = symbolizer.resolve(&copy.view());
    assert_eq!(found.warnings, [Warning::PidReused { pid: copy.pid }]);
    assert_eq!(functions(&found.stack.frames), ["?"]);
    assert_eq!(found.stack.frames[0].module, None);
    // One tick of rounding is not another process.
    copy.start_boot_ns += 1_000_000_000 + 9_999_999;
    let found = symbolizer.resolve(&copy.view());
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
}

#[test]
fn an_unknown_start_time_is_taken_for_the_living_process() {
    let shop = Workshop::new();
    let server = Blocked::start(&shop.c("server", SERVER, &["-O2"]), SYS_RECVFROM);
    let mut copy = server.copy();
    copy.start_boot_ns = 0;
    let found = Symbolizer::new().resolve(&copy.view());
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
}

#[test]
fn a_deleted_program_is_named_from_the_mapping() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2"]);
    let server = Blocked::start(&program, SYS_RECVFROM);
    fs::remove_file(&program).unwrap();
    let found = resolve(&server);
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{found:#?}"
    );
    assert_eq!(
        super::named(&found, "serve").module.as_deref(),
        Some("server")
    );
}

#[test]
fn a_program_that_took_the_path_of_the_running_one_is_never_used() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2"]);
    let server = Blocked::start(&program, SYS_RECVFROM);
    let other = SERVER
        .replace("handle_client", "new_handler")
        .replace("serve", "new_serve");
    let newer = shop.c("newer", &other, &["-O2"]);
    fs::rename(&newer, &program).unwrap();
    let found = resolve(&server);
    let names = functions(&found.stack.frames);
    assert!(
        follows(&found.stack.frames, "handle_client", "serve"),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.starts_with("new_")),
        "{names:?}"
    );
}

#[test]
fn a_file_rewritten_in_place_gives_no_names() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2"]);
    let mut server = Blocked::start(&program, SYS_RECVFROM);
    let copy = server.copy();
    let mut symbolizer = Symbolizer::new();
    symbolizer.warm(copy.pid);
    server.end();
    // Writing to a running program is refused; to a library, or after the end, it is not.
    let mut bytes = fs::read(&program).unwrap();
    bytes.push(0);
    fs::write(&program, bytes).unwrap();
    let found = symbolizer.resolve(&copy.view());
    let module = "server".to_owned();
    assert_eq!(
        found.warnings,
        [Warning::FileReplaced {
            pid: copy.pid,
            module
        }]
    );
    let own = found
        .stack
        .frames
        .iter()
        .filter(|f| f.module.as_deref() == Some("server"));
    assert!(
        own.into_iter().all(|frame| frame.function.is_none()),
        "{found:#?}"
    );
}
