//! Goroutines as threads of control: who serves a connection, who has ended, and what is not known.

use std::num::NonZeroU64;

use super::world::{Conn, S, SERVER, STUCK, World, conn, frame, thread, world};
use crate::model::{
    actor::Goroutine,
    input::{Activity, Created, Input, Thread},
    report::Site,
    socket::SocketOperation,
    stack::{Frame, FrameAddress, Stack},
    wait::{FileKind, Target, Wait},
};

/// The function of the program that reads, in a frame of its own.
const HANDLER: FrameAddress = FrameAddress {
    frame: 1,
    cfa: 0x100,
    return_address: 0x4000,
};
/// How deep in its stack a goroutine reads.
const READS_AT: u64 = 0_u64.wrapping_sub(0x180);
const LOCK: Wait = Wait::Lock {
    address: 0,
    owner: None,
};

fn goroutine(id: u64, wait: Wait, functions: &[&str]) -> Thread {
    let frames: Vec<Frame> = (0..)
        .zip(functions)
        .map(|(line, function)| frame(function, line))
        .collect();
    Thread {
        tid: 0,
        name: Some(format!("goroutine {id}")),
        syscall: None,
        wait,
        goroutine: Some(Goroutine { pid: SERVER, id }),
        // The handler is the last but one.
        frames_at: (0..frames.len() as u32 - 1)
            .map(|at| {
                let inside = u64::from(frames.len() as u32 - 2 - at);
                FrameAddress {
                    frame: at,
                    cfa: READS_AT.wrapping_add(HANDLER.cfa - 8 * inside),
                    return_address: HANDLER.return_address + inside,
                }
            })
            .collect(),
        stack: frames,
        ..thread(0, "", Vec::new())
    }
}

fn acceptor() -> Thread {
    let target = Target {
        fd: 3,
        file: FileKind::Unknown,
    };
    goroutine(1, Wait::Accept(target), &["accept", "main.main", "main"])
}

/// Accepted by the first goroutine, read by another.
fn read_by(cookie: u64, id: u64) -> Conn {
    let mut conn = conn(cookie)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S);
    let history = &mut conn.candidate.history;
    if let Some(opened) = &mut history.opened {
        opened.goroutine = NonZeroU64::new(1);
    }
    if let Some(used) = &mut history.used {
        (used.goroutine, used.sp) = (NonZeroU64::new(id), READS_AT);
    }
    conn
}

fn go(conns: Vec<Conn>, mut goroutines: Vec<Thread>, all: bool) -> World {
    goroutines.push(acceptor());
    let frames = vec![
        frame("internal/poll.(*FD).Read", 1),
        frame("main.handle", 2),
        frame("goexit", 3),
    ];
    let known = conns.iter().map(|conn| Activity {
        cookie: conn.candidate.cookie,
        history: conn.candidate.history,
    });
    let known = Input::Activity(known.collect());
    world(conns)
        .with(known)
        .with(Input::Stack {
            key: 2,
            stack: Stack {
                frames,
                frames_at: vec![HANDLER],
                ..Stack::default()
            },
        })
        .with_threads(SERVER, goroutines)
        .with(Input::Goroutines { pid: SERVER, all })
}

fn told(site: &Site, part: &str) -> bool {
    site.evidence.iter().any(|line| line.contains(part))
}

#[test]
fn a_goroutine_that_a_lock_keeps_from_its_connection_is_the_cause() {
    let locked = ["sync.(*Mutex).Lock", "main.update", "main.handle", "goexit"];
    let conns = vec![read_by(1, 7), read_by(2, 8)];
    let goroutines = vec![goroutine(7, LOCK, &locked), goroutine(8, LOCK, &locked)];
    let site = go(conns, goroutines, true).site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence.name(), "medium");
    assert_eq!(site.count, 2);
    assert!(told(&site, "2 of 2 goroutines"), "{:?}", site.evidence);
    assert!(
        told(&site, "goroutine 7 was the last"),
        "{:?}",
        site.evidence
    );
}

/// It has left an older one behind, so that is not what it works at.
#[test]
fn a_worker_that_has_touched_several_serves_none_of_them() {
    let locked = ["sync.(*Mutex).Lock", "main.update", "main.handle", "goexit"];
    let mut older = read_by(1, 7);
    if let Some(used) = &mut older.candidate.history.used {
        used.at -= S;
    }
    let world = go(
        vec![older, read_by(2, 7)],
        vec![goroutine(7, LOCK, &locked)],
        true,
    );
    let site = world.site();
    assert_eq!(site.verdict.name(), "lost-reference");
}

#[test]
fn a_goroutine_that_has_ended_proves_less_than_a_reference_that_is_gone() {
    let ended = go(vec![read_by(1, 7)], Vec::new(), true).site();
    assert_eq!(ended.verdict.name(), "lost-reference");
    assert_eq!(ended.confidence.name(), "medium");
    assert!(told(&ended, "have ended"), "{:?}", ended.evidence);
    // Nothing is concluded from a list that is not complete, or from a call of nobody knows whom.
    let in_part = go(vec![read_by(1, 7)], Vec::new(), false);
    assert_eq!(in_part.verdict(), "lost-reference low leak");
    let mut unknown = read_by(1, 7);
    if let Some(used) = &mut unknown.candidate.history.used {
        used.goroutine = None;
    }
    let site = go(vec![unknown], Vec::new(), true).site();
    assert_eq!(site.confidence.name(), "low");
    assert!(!told(&site, "ended"), "{:?}", site.evidence);
}

/// A loop that takes the next job from a channel is not in the call that touched the last one.
#[test]
fn a_goroutine_that_waits_for_the_next_job_is_idle() {
    let wait = Wait::Channel { sends: false };
    let idle = goroutine(
        7,
        wait.clone(),
        &["runtime.chanrecv1", "main.handle", "goexit"],
    );
    let site = go(vec![read_by(1, 7)], vec![idle], true).site();
    assert_eq!(site.verdict.name(), "lost-reference");
    assert!(told(&site, "waits for new work"), "{:?}", site.evidence);
    let inside = ["runtime.chanrecv1", "main.ask", "main.handle", "goexit"];
    let asks = go(vec![read_by(1, 7)], vec![goroutine(7, wait, &inside)], true).site();
    assert_eq!(asks.verdict.name(), "owner-blocked");
    assert_eq!(asks.confidence.name(), "low");
}

/// net/http reads the end in a goroutine of its own, which ends; the handler keeps the connection.
#[test]
fn a_handler_is_found_behind_the_reader_that_saw_the_end() {
    let mut conn = read_by(1, 7).eof();
    if let Some(eof) = &mut conn.candidate.history.eof {
        (eof.goroutine, eof.sp) = (NonZeroU64::new(9), READS_AT);
    }
    let functions = [
        "sync.(*Mutex).Lock",
        "main.update",
        "net/http.serverHandler.ServeHTTP",
        "net/http.(*conn).serve",
        "goexit",
    ];
    let site = go(vec![conn], vec![goroutine(7, LOCK, &functions)], true).site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence.name(), "high");
    assert!(
        told(&site, "goroutine 7 had touched"),
        "{:?}",
        site.evidence
    );
}

fn started(by: Option<u64>, at: &str, goroutine: Thread) -> Thread {
    let at = vec![frame(at, 9)];
    let created = Some(Created { by, at });
    Thread {
        created,
        ..goroutine
    }
}

/// The handler only waits; what keeps it is what those are in that it has started, also by others of them.
#[test]
fn behind_a_handler_that_waits_for_others_stand_those() {
    const LOCKED: [&str; 4] = [
        "sync.(*Mutex).Lock",
        "main.collect",
        "main.gather.func1",
        "goexit",
    ];
    let handler = |id| {
        let functions = [
            "sync.(*WaitGroup).Wait",
            "main.gather",
            "net/http.serverHandler.ServeHTTP",
            "net/http.(*conn).serve",
            "goexit",
        ];
        goroutine(id, Wait::Group, &functions)
    };
    for by in [Some(7), None] {
        let middle = goroutine(
            20,
            Wait::Channel { sends: false },
            &[
                "runtime.chanrecv1",
                "main.each",
                "main.gather.func1",
                "goexit",
            ],
        );
        let inner = |id, functions: &[&str], wait| {
            let by = by.map(|_| 20);
            started(by, "main.each", goroutine(id, wait, functions))
        };
        let closer = goroutine(24, Wait::Group, &["main.gather.func2", "goexit"]);
        let mut goroutines = vec![
            handler(7),
            started(by, "main.gather", middle),
            started(by, "main.gather", closer),
            inner(21, &LOCKED, LOCK),
            inner(22, &LOCKED, LOCK),
            inner(23, &LOCKED, LOCK),
        ];
        let site = go(vec![read_by(1, 7)], goroutines.clone(), true).site();
        assert_eq!(site.verdict.name(), "owner-blocked");
        let blamed = site.blame.as_ref().map(|blame| blame.function.to_string());
        assert_eq!(blamed.as_deref(), Some("sync.(*Mutex).Lock"), "{by:?}");
        assert!(told(&site, "3 wait in sync.(*Mutex).Lock: for a lock"));
        assert!(
            site.summary.contains("goroutines that wait for a lock"),
            "{}",
            site.summary
        );
        // Where these wait in different places, nobody knows which of them matters.
        let elsewhere = ["main.sleep", "main.gather.func1", "goexit"];
        for id in [25, 26] {
            let mut other = inner(id, &elsewhere, Wait::Sleep);
            if let Some(first) = other.stack.first_mut() {
                first.offset = 99;
            }
            goroutines.push(other);
        }
        let site = go(vec![read_by(1, 7)], goroutines, true).site();
        let blamed = site.blame.as_ref().map(|blame| blame.function.to_string());
        assert_eq!(blamed.as_deref(), Some("sync.(*WaitGroup).Wait"), "{by:?}");
    }
    // Those of another one are not meant.
    let other = started(Some(8), "main.gather", goroutine(21, LOCK, &LOCKED));
    let site = go(vec![read_by(1, 7)], vec![handler(7), other], true).site();
    let blamed = site.blame.map(|blame| blame.function.to_string());
    assert_eq!(blamed.as_deref(), Some("sync.(*WaitGroup).Wait"));
}
