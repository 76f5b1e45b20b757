//! Requests that one thread reads and a pool works on which touches no client.

use super::{
    crowds::{INODE, open},
    world::{S, SERVER, STUCK, World, conn, frame, libc, process, thread, world},
};
use crate::model::{input::Thread, socket::SocketOperation};

const MS: u64 = 1_000_000;
const FIRST: u64 = STUCK - 5 * S;

/// The thread that accepts reads a request each second; each worker asks a server at its moment, and waits.
fn reads_for(asked: &[u64]) -> World {
    let clients = (1..=5).map(|nth| {
        let read = FIRST + nth * S;
        conn(nth).accepted().used(SocketOperation::Recv, read)
    });
    let mut reader = vec![thread(
        SERVER,
        "accept",
        vec![libc("accept"), frame("dispatch", 60)],
    )];
    let mut questions = Vec::new();
    for (nth, at) in (0..).zip(asked) {
        let mut question = open(80 + u64::from(nth), (SocketOperation::Connect, *at), 0);
        let history = &mut question.1;
        for operation in [&mut history.opened, &mut history.used]
            .into_iter()
            .flatten()
        {
            operation.tid = 500 + nth;
        }
        questions.push(question);
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
