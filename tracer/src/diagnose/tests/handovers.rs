//! Requests that one thread reads and a pool works on which touches no client.

use super::{
    crowds::{INODE, open},
    world::{S, SERVER, STUCK, World, conn, frame, libc, operation, process, thread, world},
};
use crate::model::{
    input::{CloseCount, Connection, Input, Thread},
    socket::{History, SocketOperation},
    stack::Stack,
    wait::Wait,
};

const MS: u64 = 1_000_000;
const FIRST: u64 = STUCK - 5 * S;

/// A connection to a server that a worker opened.
fn asked_by(nth: u32, at: u64) -> (u64, History, Connection) {
    let mut question = open(80 + u64::from(nth), (SocketOperation::Connect, at), 0);
    let history = &mut question.1;
    for operation in [&mut history.opened, &mut history.used]
        .into_iter()
        .flatten()
    {
        operation.tid = 500 + nth;
    }
    question
}

/// The thread that accepts reads a request each second; each worker asks a server at its moment, and waits.
fn reads_for(asked: &[u64]) -> World {
    let clients = (1..=5).map(|nth| {
        let read = FIRST + nth * S;
        conn(nth).accepted().used(SocketOperation::Recv, read)
    });
    let mut reader = vec![acceptor()];
    let mut questions = Vec::new();
    for (nth, at) in (0..).zip(asked) {
        questions.push(asked_by(nth, *at));
        let stack = vec![libc("read"), frame("ask", 50), frame("worker", 51)];
        reader.push(Thread {
            comm: format!("pool-1-thread-{nth}"),
            fd: Some(90),
            socket: Some(INODE + 80 + u64::from(nth)),
            since: Some(at + S),
            ..thread(500 + nth, "read", stack)
        });
    }
    let mut server = process(SERVER);
    server.threads = reader.len() as u32;
    world(clients)
        .with_process(server)
        .with_threads(SERVER, reader)
        .with_neighbours(&questions)
}

#[test]
fn workers_that_began_right_after_requests_were_read_serve_them() {
    let site = reads_for(&[FIRST + 1100 * MS, FIRST + 2300 * MS]).site();
    let confidence = site.confidence.name();
    assert_eq!(
        (site.verdict.name(), confidence),
        ("worker-starvation", "low")
    );
    assert_eq!(site.count, 5);
    assert_eq!(site.blame.unwrap().function.raw(), "ask");
    let says = "each of the 2 began that right after another thread";
    let evidence = site.evidence.join("; ");
    assert!(evidence.contains(says), "{evidence}");
}

/// Those that were read before the pool began are told as before: others may have served them.
#[test]
fn what_was_read_before_the_first_worker_began_is_not_in_its_queue() {
    let report = reads_for(&[FIRST + 3100 * MS, FIRST + 4100 * MS]).report();
    let counts: Vec<_> = report
        .sites
        .iter()
        .map(|site| (site.verdict.name(), site.count))
        .collect();
    assert_eq!(counts, [("worker-starvation", 3), ("lost-reference", 2)]);
}

#[test]
fn workers_that_began_at_other_times_serve_something_else() {
    let starves = |asked: &[u64]| {
        let sites = reads_for(asked).report().sites;
        let mut verdicts = sites.iter().map(|site| site.verdict.name());
        verdicts.any(|verdict| verdict == "worker-starvation")
    };
    assert!(!starves(&[FIRST - S, FIRST + 1100 * MS]));
    assert!(!starves(&[FIRST + 2900 * MS, FIRST + 2990 * MS]));
    assert!(!starves(&[FIRST + 1100 * MS]));
}

/// A thread is started after each accept, and waits for a server before it reads.
fn started_after(began: [u64; 3]) -> World {
    let clients = (1..=3).map(|nth| {
        let mut client = conn(nth).accepted().recv_q(120);
        let opened = client.candidate.history.opened.as_mut().unwrap();
        opened.at = FIRST + nth * S;
        client
    });
    let mut threads = vec![acceptor()];
    let mut questions = Vec::new();
    for (nth, began) in (0..).zip(began) {
        questions.push(asked_by(nth, began + 4 * MS));
        let stack = vec![libc("read"), frame("ask", 50), frame("handle", 51)];
        threads.push(Thread {
            fd: Some(90),
            socket: Some(INODE + 80 + u64::from(nth)),
            since: Some(began + S),
            began,
            ..thread(500 + nth, "read", stack)
        });
    }
    let mut server = process(SERVER);
    server.threads = threads.len() as u32;
    world(clients)
        .with_process(server)
        .with_threads(SERVER, threads)
        .with_neighbours(&questions)
}

fn acceptor() -> Thread {
    let stack = vec![libc("accept"), frame("dispatch", 60)];
    thread(SERVER, "accept", stack)
}

#[test]
fn threads_that_were_started_right_after_accepts_serve_what_nobody_has_read() {
    let after = |nth, ms| FIRST + nth * S + ms * MS;
    let site = started_after([after(1, 5), after(2, 1), after(3, 20)]).site();
    assert_eq!(
        (site.verdict.name(), site.confidence.name(), site.count),
        ("owner-blocked", "low", 3)
    );
    assert_eq!(site.blame.unwrap().function.raw(), "ask");
    let says = "was started right after the oldest was accepted";
    assert!(
        site.evidence.join("; ").contains(says),
        "{:?}",
        site.evidence
    );
    // One of them has none of its own.
    let other = started_after([after(1, 5), after(1, 9), after(3, 20)]).report();
    let verdicts: Vec<_> = other.sites.iter().map(|site| site.verdict.name()).collect();
    assert_eq!(verdicts, ["never-read"]);
}

/// Readers put what they have read into the queue of one that prints, answers and closes.
fn printer_in(function: &str, last: SocketOperation) -> World {
    let printer = Thread {
        wait: Wait::Child,
        since: Some(STUCK),
        ..thread(
            600,
            "wait4",
            vec![libc("wait4"), frame(function, 70), frame("printer", 71)],
        )
    };
    let closed_in = Stack {
        frames: vec![libc("close"), frame("finish", 72), frame("printer", 71)],
        pid: Some(SERVER),
        ..Stack::default()
    };
    let mut server = process(SERVER);
    server.threads = 2;
    world([1, 2].map(|nth| conn(nth).accepted().used(last, STUCK - S)))
        .with_process(server)
        .with_threads(SERVER, vec![acceptor(), printer])
        .with(Input::CloseCount(vec![CloseCount {
            opened: 1,
            closed: 9,
            count: 4,
        }]))
        .with(Input::Stack {
            key: 9,
            stack: closed_in,
        })
}

#[test]
fn who_closes_what_others_have_read_and_is_kept_may_have_these_in_its_queue() {
    let site = printer_in("finish", SocketOperation::Recv).site();
    assert_eq!(
        (site.verdict.name(), site.confidence.name()),
        ("owner-blocked", "low"),
        "{:?}",
        site.evidence
    );
    let says = "4 connections opened at the same place were closed in finish";
    assert!(
        site.evidence.join("; ").contains(says),
        "{:?}",
        site.evidence
    );
    // It does something else now, but those that were closed went through it.
    let doubts = |last| {
        let site = printer_in("rotate_log", last).site();
        assert_eq!(site.verdict.name(), "lost-reference");
        site.evidence
            .join("; ")
            .contains("by code that had not used them")
    };
    assert!(doubts(SocketOperation::Recv));
    assert!(doubts(SocketOperation::Send));
}

/// It writes to all of them what one of them sends.
#[test]
fn who_waits_for_a_client_that_was_there_before_may_write_to_this_one_again() {
    let verdict = |older: u64| {
        let mut source = open(70, (SocketOperation::Accept, older), 0);
        source.1.used = Some(operation(SocketOperation::Recv, STUCK, 2));
        let stack = vec![libc("read"), frame("relay", 80)];
        let relay = Thread {
            fd: Some(90),
            socket: Some(INODE + 70),
            since: Some(STUCK + S),
            ..thread(SERVER, "read", stack)
        };
        world([conn(1).accepted().used(SocketOperation::Send, STUCK - S)])
            .with_threads(SERVER, vec![relay])
            .with_neighbours(&[source])
            .verdict()
    };
    assert_eq!(verdict(STUCK - 9 * S), "lost-reference low leak");
    assert_eq!(verdict(STUCK - 2 * S), "lost-reference high leak");
}

/// A relay reads nothing of a client before the server has accepted.
#[test]
fn a_server_that_does_not_accept_keeps_who_connects_for_each_client() {
    use tracer_common::state::SYN_SENT;
    let mut to_server = open(80, (SocketOperation::Connect, STUCK - 4 * S), 0);
    to_server.1.used = None;
    to_server.1.opened.as_mut().unwrap().tid = 501;
    to_server.2.state = SYN_SENT;
    let site = |connection| {
        world([conn(1).accepted().recv_q(120)])
            .with_threads(SERVER, vec![acceptor()])
            .with_neighbours(&[connection])
            .site()
    };
    let silent = site(to_server);
    assert_eq!(
        (silent.verdict.name(), silent.confidence.name()),
        ("upstream-silent", "low")
    );
    assert!(
        silent.summary.contains("10.0.0.9:9000"),
        "{}",
        silent.summary
    );
    to_server.2.state = tracer_common::state::ESTABLISHED;
    assert_eq!(site(to_server).verdict.name(), "never-read");
}

/// What came was acknowledged, and a worker is at it since the end was read.
#[test]
fn who_began_right_after_the_end_was_read_may_still_serve_it() {
    let confidence = |since: u64| {
        let stack = vec![libc("nanosleep"), frame("render", 70), frame("job", 71)];
        let worker = Thread {
            wait: Wait::Sleep,
            since: Some(since),
            ..thread(600, "nanosleep", stack)
        };
        let mut server = process(SERVER);
        server.threads = 2;
        let conn = conn(1).accepted().used(SocketOperation::Send, STUCK - S);
        let site = world([conn.eof()])
            .with_process(server)
            .with_threads(SERVER, vec![acceptor(), worker])
            .site();
        assert_eq!(site.verdict.name(), "eof-ignored");
        site.confidence.name()
    };
    assert_eq!(confidence(STUCK + S + 10 * MS), "low");
    assert_ne!(confidence(STUCK + 3 * S), "low");
    assert_ne!(confidence(STUCK - S), "low");
}
