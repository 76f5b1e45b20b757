//! One question to a server, and the clients that came later.

use super::{
    crowds::open,
    kept::upstream,
    world::{Conn, END, S, SERVER, STUCK, conn, frame, libc, process, thread, world},
};
use crate::model::{
    report::Site,
    socket::{LastOperation, SocketOperation},
};

const MS: u64 = 1_000_000;

/// Requests that were read, one a second, after this moment; 10.0.0.9:9000 was asked by this thread then.
fn site(requests: &[u64], asked_at: u64, by: u32) -> Site {
    let conns: Vec<Conn> = (1..)
        .zip(requests)
        .map(|(n, at)| conn(n).accepted().used(SocketOperation::Recv, *at))
        .collect();
    let mut asked = open(71, (SocketOperation::Connect, asked_at - S), 0);
    for operation in [&mut asked.1.opened, &mut asked.1.used] {
        *operation = operation.map(|operation| LastOperation {
            tid: by,
            stack: 9,
            ..operation
        });
    }
    let mut server = process(SERVER);
    server.threads = 2;
    let accepts = thread(SERVER, "accept", vec![frame("main", 9)]);
    let mut asks = upstream(71);
    asks.since = Some(END - 95 * S);
    world(conns)
        .with_process(server)
        .with_threads(SERVER, vec![accepts, asks])
        .with_stack(9, vec![libc("send"), frame("fetch", 70)])
        .with_neighbours(&[asked])
        .site()
}

#[test]
fn a_cache_asks_once_for_all_that_want_the_same() {
    let reads = [STUCK - 5 * S, STUCK - 4 * S, STUCK - 3 * S];
    let fetched = site(&reads, reads[0] + 50 * MS, 471);
    assert_eq!(
        (fetched.verdict.name(), fetched.count),
        ("upstream-silent", 3)
    );
    // Nothing ties them to it but the time.
    assert_eq!(fetched.confidence.name(), "low");
    assert!(fetched.summary.contains("3 connections most likely wait"));
    assert!(fetched.summary.contains("10.0.0.9:9000"));
    assert_eq!(fetched.blame.unwrap().function.raw(), "fetch");
    // Asked long before, as by what only listens for news; or when no request was there.
    for asked in [reads[0] - 10 * S, reads[0] + 500 * MS] {
        assert_eq!(site(&reads, asked, 471).verdict.name(), "lost-reference");
    }
}

/// A loop has one connection to a server, and takes clients out of its set until that is free.
#[test]
fn clients_that_came_after_the_one_that_was_asked_for_may_wait_for_the_same() {
    let reads = [STUCK - 5 * S, STUCK - 4 * S, STUCK - 3 * S];
    let asked = site(&reads, reads[0] + 50 * MS, SERVER);
    assert_eq!((asked.verdict.name(), asked.count), ("upstream-silent", 3));
    let says = |part: &str| asked.evidence.iter().any(|line| line.contains(part));
    assert!(
        says("its thread asked 10.0.0.9:9000"),
        "{:?}",
        asked.evidence
    );
    assert!(
        says("2 of 3: the request was read later"),
        "{:?}",
        asked.evidence
    );
    assert_eq!(asked.confidence.name(), "low");
}

/// A handler asks a server and waits; meanwhile its loop reads that the client has left.
#[test]
fn who_was_asked_for_before_the_end_was_read_may_still_be_waited_for() {
    let read = STUCK - 5 * S;
    let verdict = |asked_at: u64| {
        let client = conn(1).accepted().used(SocketOperation::Recv, read).eof();
        let mut asked = open(71, (SocketOperation::Connect, asked_at), 0);
        asked.1.used = None;
        asked.2.moved = None;
        let waits = thread(SERVER, "epoll_wait", vec![libc("epoll_wait")]);
        let site = world([client])
            .with_threads(SERVER, vec![waits])
            .with_neighbours(&[asked])
            .site();
        format!("{} {}", site.verdict, site.confidence.name())
    };
    assert_eq!(verdict(read + 50 * MS), "upstream-silent low");
    // Nobody was asked for this client.
    assert!(verdict(read - S).starts_with("eof-ignored"));
}

/// Each client's thread asked the same server by a connection of its own; of most it is not known in which function.
#[test]
fn who_waits_for_the_same_server_is_one_finding() {
    let read = STUCK - 5 * S;
    let conns = (1..=4).map(|cookie| {
        let mut conn = conn(cookie).accepted().used(SocketOperation::Recv, read);
        if let Some(used) = &mut conn.candidate.history.used {
            used.tid = 500 + cookie as u32;
        }
        conn
    });
    let asked = [1, 2, 3, 4].map(|client| {
        let mut asked = open(70 + client, (SocketOperation::Connect, read + MS), 0);
        for operation in [&mut asked.1.opened, &mut asked.1.used] {
            *operation = operation.map(|operation| LastOperation {
                tid: 500 + client as u32,
                stack: if client == 1 { 9 } else { 8 },
                ..operation
            });
        }
        asked
    });
    let report = world(conns)
        .with_process(process(SERVER))
        .with_threads(
            SERVER,
            vec![thread(SERVER, "accept", vec![frame("main", 9)])],
        )
        .with_stack(8, vec![libc("send")])
        .with_stack(9, vec![libc("send"), frame("fetch", 70)])
        .with_neighbours(&asked)
        .report();
    let told: Vec<_> = report
        .sites
        .iter()
        .map(|site| (site.verdict.name(), site.count))
        .collect();
    assert_eq!(told, [("upstream-silent", 4)], "{:#?}", report.sites);
    let says = report.sites[0].evidence.join("; ");
    assert!(
        says.contains("of 3 of the 4 nothing tells which function asked"),
        "{says}"
    );
}
