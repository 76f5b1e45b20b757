//! Virtual threads as threads of control: who serves a connection, and what is not known.

use std::num::NonZeroU64;

use super::world::{Conn, S, SERVER, STUCK, conn, libc, names, thread, world};
use crate::{
    diagnose::{self, Style},
    model::{
        actor,
        input::{Activity, AsyncTask, Input, Thread},
        report::{Report, Site},
        socket::SocketOperation,
        stack::{Frame, JAVA, Runtime},
        wait::Wait,
    },
};

const TASK: &str = "java.util.concurrent.ThreadPerTaskExecutor$TaskRunner.run";
const RUN: &str = "java.lang.VirtualThread.run";
const ACQUIRE: &str = "java.util.concurrent.Semaphore.acquire";

/// Innermost first, each with its line.
fn java(calls: &[(&str, u32)]) -> Vec<Frame> {
    calls
        .iter()
        .map(|(function, line)| Frame {
            function: Some((*function).to_owned()),
            module: Some(JAVA.to_owned()),
            line: Some(*line),
            runtime: Some(Runtime::Jvm),
            ..Frame::default()
        })
        .collect()
}

fn waiting(id: u64, calls: &[(&str, u32)]) -> AsyncTask {
    AsyncTask {
        thread: Thread {
            tid: 0,
            name: Some(format!("virtual thread {id}")),
            syscall: None,
            wait: Wait::Futex { address: 0 },
            task: Some(actor::Task::virtual_thread(SERVER, id)),
            ..thread(0, "", java(calls))
        },
        holds: Vec::new(),
    }
}

fn read_by(cookie: u64, id: Option<u64>) -> Conn {
    let mut conn = conn(cookie)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S);
    if let Some(used) = &mut conn.candidate.history.used {
        used.virtual_thread = id.and_then(NonZeroU64::new);
    }
    conn
}

fn program(conns: Vec<Conn>, read: Vec<Frame>, tasks: Vec<AsyncTask>) -> Report {
    let known = conns.iter().map(|conn| Activity {
        cookie: conn.candidate.cookie,
        history: conn.candidate.history,
    });
    let known = Input::Activity(known.collect());
    let tracker = world(conns)
        .with(known)
        .with_stack(2, read)
        .with_threads(SERVER, vec![thread(SERVER, "accept", vec![libc("accept")])])
        .with(Input::Tasks { pid: SERVER, tasks })
        .tracker();
    let style = Style {
        sockets_per_site: 5,
    };
    let is_own = |frame: &Frame| {
        let function = frame.function.as_deref();
        function.is_some_and(|function| function.starts_with("app."))
    };
    let blamer = |frames: &[Frame]| frames.iter().position(is_own);
    diagnose::report(&tracker, style, &blamer).unwrap().report
}

fn site(report: Report) -> Site {
    assert_eq!(report.sites.len(), 1, "{:?}", names(&report.sites));
    report.sites.into_iter().next().unwrap()
}

const READ: [(&str, u32); 4] = [
    ("sun.nio.ch.NioSocketImpl.read", 300),
    ("app.Server.serve", 10),
    (TASK, 314),
    (RUN, 331),
];
const KEPT: [(&str, u32); 5] = [
    (ACQUIRE, 318),
    ("app.Server.takeConnection", 40),
    ("app.Server.serve", 11),
    (TASK, 314),
    (RUN, 331),
];

fn told(site: &Site, part: &str) -> bool {
    site.evidence.iter().any(|line| line.contains(part))
}

#[test]
fn one_that_is_still_in_the_task_in_which_it_read_is_the_cause() {
    let conns = vec![read_by(1, Some(31)), read_by(2, Some(32))];
    let tasks = vec![waiting(31, &KEPT), waiting(32, &KEPT)];
    let site = site(program(conns, java(&READ), tasks));
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!((site.confidence.name(), site.count), ("high", 2));
    let blamed = site.blame.as_ref().unwrap();
    assert_eq!(blamed.function.raw(), "app.Server.takeConnection");
    for part in ["virtual thread 31 was the last", "2 of 2 virtual threads"] {
        assert!(told(&site, part), "{:?}", site.evidence);
    }
}

/// It may run a loop of its own, in which the present round is not that connection's.
#[test]
fn one_that_no_executor_started_is_less_sure() {
    let without = |calls: &[(&'static str, u32)]| -> Vec<(&'static str, u32)> {
        let mut calls = calls.to_vec();
        calls.retain(|(function, _)| *function != TASK);
        calls
    };
    let conns = vec![read_by(1, Some(31))];
    let tasks = vec![waiting(31, &without(&KEPT))];
    let site = site(program(conns, java(&without(&READ)), tasks));
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence.name(), "medium");
}

#[test]
fn what_it_does_elsewhere_says_nothing_of_the_connection() {
    let other = [(ACQUIRE, 318), ("app.Jobs.next", 7), (RUN, 331)];
    let conns = vec![read_by(1, Some(31))];
    let site = site(program(conns, java(&READ), vec![waiting(31, &other)]));
    assert_ne!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence.name(), "low");
    // It has turned to another connection.
    let mut later = read_by(2, Some(31));
    if let Some(used) = &mut later.candidate.history.used {
        used.at += S / 2;
    }
    let conns = vec![read_by(1, Some(31)), later];
    let report = program(conns, java(&READ), vec![waiting(31, &KEPT)]);
    let of_first = report.sites.iter().find(|site| {
        let mut sockets = site.sockets.iter();
        sockets.any(|socket| socket.cookie.0 == 1)
    });
    assert_ne!(of_first.unwrap().verdict.name(), "owner-blocked");
}

/// The runtime was not known yet when they were read.
#[test]
fn as_many_as_there_are_connections_are_likely_theirs() {
    let native = || vec![libc("read")];
    let conns = || (1..4).map(|cookie| read_by(cookie, None)).collect();
    let tasks =
        |count: u64| -> Vec<AsyncTask> { (31..31 + count).map(|id| waiting(id, &KEPT)).collect() };
    let all = site(program(conns(), native(), tasks(3)));
    assert_eq!(all.verdict.name(), "owner-blocked");
    assert_eq!((all.confidence.name(), all.count), ("low", 3));
    assert!(told(&all, "3 virtual threads wait at one place"));
    assert!(!told(&all, "0 of 0"), "{:?}", all.evidence);
    // As many elsewhere.
    let other = [(ACQUIRE, 318), ("app.Jobs.next", 7), (RUN, 331)];
    let elsewhere = (41..44).map(|id| waiting(id, &other));
    let two: Vec<AsyncTask> = tasks(3).into_iter().chain(elsewhere).collect();
    let either = site(program(conns(), native(), two));
    assert_ne!(either.verdict.name(), "owner-blocked");
    let fewer = site(program(conns(), native(), tasks(2)));
    assert_ne!(fewer.verdict.name(), "owner-blocked");
    assert!(
        !told(&fewer, "has turned to another"),
        "who carried it tells nothing: {:?}",
        fewer.evidence
    );
}

/// The first call of one was made before its runtime was known, and one thread more waits where the others do.
#[test]
fn the_one_that_is_left_is_likely_the_last_connections() {
    let tasks = |count: u64| (31..31 + count).map(|id| waiting(id, &KEPT)).collect();
    let connections = || {
        let mut first = read_by(9, None);
        if let Some(used) = &mut first.candidate.history.used {
            used.stack = 7;
        }
        let known = (1..4).map(|cookie| read_by(cookie, Some(30 + cookie)));
        known.chain([first]).collect()
    };
    let all = site(program(connections(), java(&READ), tasks(4)));
    assert_eq!((all.verdict.name(), all.count), ("owner-blocked", 4));
    let none_left = program(connections(), java(&READ), tasks(3)).sites;
    assert_eq!(none_left.len(), 2, "{:?}", names(&none_left));
}

/// Its frames on the heap could not be read at that moment.
#[test]
fn one_whose_calls_were_cut_short_is_told_with_the_others() {
    let connections = || {
        let mut first = read_by(4, Some(34));
        if let Some(used) = &mut first.candidate.history.used {
            used.stack = 7;
        }
        let known = (1..4).map(|cookie| read_by(cookie, Some(30 + cookie)));
        known.chain([first]).collect()
    };
    let tasks = |last: &[(&str, u32)]| {
        let known = (31..34).map(|id| waiting(id, &KEPT));
        known.chain([waiting(34, last)]).collect()
    };
    let all = site(program(connections(), java(&READ), tasks(&KEPT)));
    assert_eq!((all.verdict.name(), all.count), ("owner-blocked", 4));
    // No executor has started it for this alone.
    let of_pool = [
        (ACQUIRE, 318),
        ("app.Server.takeConnection", 40),
        (RUN, 331),
    ];
    let other = program(connections(), java(&READ), tasks(&of_pool)).sites;
    assert_eq!(other.len(), 2, "{:?}", names(&other));
}
