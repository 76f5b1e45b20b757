//! A thread for each connection, known by what the program does: whether those that wait are free is told by whether new
//! ones were started beside them.

use super::world::{S, SERVER, STUCK, World, conn, frame, libc, operation, process, thread, world};
use crate::model::{
    input::{Activity, Input, Thread},
    socket::{LastOperation, SocketOperation},
    stack::Stack,
    wait::Wait,
};

/// Each reads in `handle` and waits there for a condition; `began` is said of the thread of every connection.
fn serve(count: u64, began: impl Fn(u64) -> u64) -> World {
    let mut conns = Vec::new();
    let mut threads = vec![thread(
        SERVER,
        "accept",
        vec![libc("accept"), frame("main", 9)],
    )];
    let mut known = Vec::new();
    for cookie in 1..=count {
        let tid = 500 + cookie as u32;
        let mut conn = conn(cookie).accepted();
        conn.candidate.history.used = Some(LastOperation {
            tid,
            ..operation(SocketOperation::Recv, STUCK - S / 2, 9)
        });
        known.push(Activity {
            cookie,
            history: conn.candidate.history,
        });
        conns.push(conn);
        threads.push(Thread {
            began: began(cookie),
            wait: Wait::Futex { address: 8 },
            switches: 9,
            ..thread(
                tid,
                "futex",
                vec![libc("futex"), frame("handle", 0x409), libc("start_thread")],
            )
        });
    }
    let mut server = process(SERVER);
    server.threads = threads.len() as u32;
    let stack = Stack {
        frames: vec![libc("recv"), frame("handle", 0x401), libc("start_thread")],
        ..Stack::default()
    };
    world(conns)
        .with(Input::Stack { key: 9, stack })
        .with_process(server)
        .with_threads(SERVER, threads)
        .with(Input::Activity(known))
}

#[test]
fn threads_that_were_started_beside_each_other_serve_one_each() {
    let site = serve(3, |_| STUCK - S).site();
    let is = (site.verdict.name(), site.confidence.name());
    let says = site.evidence.join("; ");
    assert_eq!(is, ("owner-blocked", "medium"), "{says}");
    assert!(says.contains("as all others there did"), "{says}");
}

#[test]
fn one_that_was_there_before_may_be_free() {
    let early = |cookie| if cookie == 2 { 1 } else { STUCK - S };
    for site in serve(3, early).report().sites {
        assert_ne!(site.confidence.name(), "medium", "{:?}", site.evidence);
    }
    // Two say little: each may have been the first of a pool.
    for site in serve(2, |_| STUCK - S).report().sites {
        assert_ne!(site.confidence.name(), "medium", "{:?}", site.evidence);
    }
}
