//! The helper is killed, hangs, or is not there: the stack says less, and the tracer goes on.

use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::program::{Blocked, OwnedCopy, SERVER, SYS_RECVFROM, Workshop};
use super::{assert_degraded, has, resolve, said, symbolizer};
use tracer::model::stack::Frame;
use tracer::symbolize::{Symbolizer, Warning};

fn signal(symbolizer: &Symbolizer, signal: Signal) {
    let pid = symbolizer.helper().unwrap();
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

fn started(server: &Blocked) -> (Symbolizer, OwnedCopy) {
    let mut symbolizer = symbolizer();
    let copy = server.copy();
    let found = resolve(&mut symbolizer, &copy);
    assert!(has(&found, "handle_client"), "{found:#?}");
    (symbolizer, copy)
}

/// Stopped, it has a request and no answer when it is killed.
fn stop_and_soon_kill(symbolizer: &Symbolizer) -> JoinHandle<()> {
    let pid = symbolizer.helper().unwrap();
    signal(symbolizer, Signal::STOP);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
    })
}

fn server(shop: &Workshop) -> Blocked {
    Blocked::start(&shop.c("server", SERVER, &["-O2"]), SYS_RECVFROM)
}

#[test]
fn killed_between_two_requests_it_is_started_again_unnoticed() {
    let shop = Workshop::new();
    let server = server(&shop);
    let (mut symbolizer, copy) = started(&server);
    let first = symbolizer.helper();
    signal(&symbolizer, Signal::KILL);
    std::thread::sleep(Duration::from_millis(50));
    let found = resolve(&mut symbolizer, &copy);
    assert!(has(&found, "handle_client"), "{found:#?}");
    assert_eq!(found.warnings, []);
    assert_ne!(symbolizer.helper(), first);
}

#[test]
fn one_that_hangs_is_ended_and_the_stack_keeps_module_and_offset() {
    let shop = Workshop::new();
    let server = server(&shop);
    let (mut symbolizer, copy) = started(&server);
    let hung = symbolizer.helper().unwrap();
    signal(&symbolizer, Signal::STOP);
    let begin = Instant::now();
    let found = resolve(&mut symbolizer, &copy);
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_degraded(&found, &copy);
    assert!(
        said(&found).contains("did not answer in time"),
        "{found:#?}"
    );
    // What the helper told before it hung is still known.
    let build_id = found.stack.frames[0].build_id.as_ref();
    assert_eq!(build_id.map(String::len), Some(40));
    assert!(!std::path::Path::new(&format!("/proc/{hung}")).exists());
    let found = resolve(&mut symbolizer, &copy);
    assert!(has(&found, "handle_client"), "{found:#?}");
}

#[test]
fn killed_in_the_middle_of_a_request_it_leaves_module_and_offset() {
    let shop = Workshop::new();
    let server = server(&shop);
    let (mut symbolizer, copy) = started(&server);
    let killer = stop_and_soon_kill(&symbolizer);
    let begin = Instant::now();
    let found = resolve(&mut symbolizer, &copy);
    assert!(begin.elapsed() < Duration::from_secs(2));
    killer.join().unwrap();
    assert_degraded(&found, &copy);
    assert!(said(&found).contains("ended unexpectedly"), "{found:#?}");
    assert_eq!(found.warnings.len(), 1);
}

#[test]
fn stacks_that_fail_it_twice_are_not_sent_again() {
    let shop = Workshop::new();
    let program = shop.c("server", SERVER, &["-O2"]);
    let server = Blocked::start(&program, SYS_RECVFROM);
    let (mut symbolizer, copy) = started(&server);
    for _ in 0..2 {
        signal(&symbolizer, Signal::STOP);
        assert_degraded(&resolve(&mut symbolizer, &copy), &copy);
        std::thread::sleep(Duration::from_millis(600));
        // Somebody else's stack has it started again.
        let other = Blocked::start(&program, SYS_RECVFROM);
        assert!(has(&resolve(&mut symbolizer, &other.copy()), "serve"));
    }
    let begin = Instant::now();
    let found = resolve(&mut symbolizer, &copy);
    assert!(begin.elapsed() < Duration::from_millis(500));
    assert_degraded(&found, &copy);
    assert_eq!(found.warnings, [Warning::StacksRefused { pid: copy.pid }]);
}

#[test]
fn a_file_that_fails_it_twice_is_not_sent_again_and_the_rest_is_named() {
    let shop = Workshop::new();
    let first = server(&shop);
    let bad = shop.c("bad", SERVER, &["-O2"]);
    let bad = Blocked::start(&bad, SYS_RECVFROM);
    let copy = bad.copy();
    let (mut symbolizer, _) = started(&first);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(600));
        assert!(has(&resolve(&mut symbolizer, &first.copy()), "serve"));
        // The next thing it has to do is to load the program `bad`.
        let killer = stop_and_soon_kill(&symbolizer);
        let found = resolve(&mut symbolizer, &copy);
        killer.join().unwrap();
        assert_degraded(&found, &copy);
        assert!(said(&found).contains("while reading bad:"), "{found:#?}");
    }
    std::thread::sleep(Duration::from_millis(1100));
    let found = resolve(&mut symbolizer, &copy);
    let module = "bad".to_owned();
    assert_eq!(found.warnings, [Warning::FileRefused { module }]);
    assert!(has(&found, "__recv") || has(&found, "recv"), "{found:#?}");
    let inside = |frame: &&Frame| frame.module.as_deref() == Some("bad");
    let frame = found.stack.frames.iter().find(inside).unwrap();
    assert_eq!(frame.function, None);
}

#[test]
fn a_helper_that_cannot_be_started_or_makes_no_sense_is_said_to() {
    let shop = Workshop::new();
    let server = server(&shop);
    let copy = server.copy();
    for (program, told) in [
        ("/nonexistent", "cannot be started"),
        ("/bin/true", "ended unexpectedly"),
    ] {
        let mut symbolizer = Symbolizer::with_program(PathBuf::from(program));
        let found = resolve(&mut symbolizer, &copy);
        assert_degraded(&found, &copy);
        assert!(said(&found).contains(told), "{found:#?}");
        // Once more at once, and then it is left alone for a while.
        resolve(&mut symbolizer, &copy);
        let found = resolve(&mut symbolizer, &copy);
        assert_degraded(&found, &copy);
        assert_eq!(found.warnings, [Warning::HelperResting]);
    }
    // Writes what is no answer.
    let script = shop.path("echo");
    std::fs::write(&script, "#!/bin/sh\nexec cat /dev/zero >&0\n").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    rustix::fs::chmod(&script, mode).unwrap();
    let mut symbolizer = Symbolizer::with_program(script);
    let found = resolve(&mut symbolizer, &copy);
    assert_degraded(&found, &copy);
    assert!(said(&found).contains("makes no sense"), "{found:#?}");
}
