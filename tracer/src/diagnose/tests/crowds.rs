//! Causes that lie with other sockets or threads: starving pools, blocked owners, relays, collectors, limits.

use tracer_common::state::ESTABLISHED;

use super::world::{
    Conn, END, S, SERVER, START, STUCK, World, conn, frame, libc, operation, process, thread, world,
};
use crate::model::{
    input::{CloseCount, Connection, Input, Moved, Thread},
    quantity::age,
    socket::{Endpoints, History, LastOperation, SocketOperation},
    stack::{Frame, Stack},
    wait::Wait,
};

pub const INODE: u64 = 77;

/// Another connection of the server, open in both directions.
pub fn open(
    cookie: u64,
    opened: (SocketOperation, u64),
    send_q: u32,
) -> (u64, History, Connection) {
    let history = History {
        opened: Some(operation(opened.0, opened.1, 1)),
        used: Some(operation(SocketOperation::Send, opened.1 + S, 2)),
        eof: None,
    };
    let connection = Connection {
        cookie,
        inode: INODE + cookie,
        endpoints: Endpoints {
            local: match opened.0 {
                SocketOperation::Accept => "10.0.0.1:8080".parse().unwrap(),
                _ => "10.0.0.1:50000".parse().unwrap(),
            },
            remote: "10.0.0.9:9000".parse().unwrap(),
        },
        state: ESTABLISHED,
        recv_q: 0,
        send_q,
        moved: Some(Moved {
            sent: 10,
            received: 10,
            received_ago: 0,
        }),
        netns: 0,
        tcp: None,
    };
    (cookie, history, connection)
}

fn blocked_in_handler() -> World {
    let stack = vec![
        libc("futex"),
        frame("lock", 22),
        frame("handle", 21),
        frame("accept_loop", 11),
    ];
    let locked = Thread {
        switches: 5,
        ..thread(SERVER, "futex", stack)
    };
    let mut conn = conn(1).accepted().used(SocketOperation::Recv, STUCK + S);
    if let Some(used) = &mut conn.candidate.history.used {
        (used.sp, used.switches) = (0x7000, 4);
    }
    world([conn]).with_threads(SERVER, vec![locked])
}

/// So it is between two requests of a client, too: that its only thread did nothing else shows no call.
#[test]
fn a_client_that_sleeps_between_two_requests_keeps_a_pool() {
    let sleeps = Thread {
        switches: 5,
        wait: Wait::Sleep,
        ..thread(
            SERVER,
            "clock_nanosleep",
            vec![libc("clock_nanosleep"), frame("pause", 22)],
        )
    };
    let verdict = |conn: Conn, recv_q| {
        let mut conn = conn.used(SocketOperation::Recv, STUCK - S).recv_q(recv_q);
        if let Some(used) = &mut conn.candidate.history.used {
            (used.sp, used.switches) = (0x7000, 4);
        }
        world([conn])
            .with_stack(2, vec![libc("recv")])
            .with_threads(SERVER, vec![sleeps.clone()])
            .verdict()
    };
    assert_eq!(verdict(conn(1).connected(), 1), "idle-pool low info");
    // Of a client of ours, or of an answer that was not read in full, it does.
    assert_eq!(verdict(conn(1).accepted(), 1), "owner-blocked medium leak");
    assert_eq!(verdict(conn(1).connected(), 9), "owner-blocked medium leak");
}

/// A runtime that made it wait in between, for itself, says nothing of other work.
#[test]
fn a_thread_that_began_for_a_connection_still_serves_it_however_often_it_has_waited() {
    let verdict = |began, switches| {
        let mut world = blocked_in_handler();
        for input in &mut world.inputs {
            if let Input::Threads { threads, .. } = input
                && let Some(thread) = threads.first_mut()
            {
                (thread.began, thread.switches) = (began, switches);
                thread.stack = vec![libc("futex"), frame("lock", 22)];
                thread.wait = Wait::Lock {
                    address: 8,
                    owner: None,
                };
            }
        }
        world.verdict()
    };
    assert_eq!(verdict(STUCK, 9), "owner-blocked medium leak");
    assert_eq!(verdict(START, 9), "lost-reference low leak");
}

#[test]
fn an_owner_is_blocked_only_while_it_has_not_gone_on() {
    let own = |cookie, at| {
        let mut own = open(cookie, (SocketOperation::Accept, STUCK - 5 * S), 0);
        own.1.used = Some(LastOperation {
            sp: 0x7000,
            switches: 4,
            ..operation(SocketOperation::Recv, at, 2)
        });
        own
    };
    let site = blocked_in_handler()
        .with_neighbours(&[own(1, STUCK + S)])
        .site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "lock");
    let gone_on = blocked_in_handler().with_neighbours(&[own(1, STUCK + S), own(2, STUCK + 2 * S)]);
    assert_eq!(gone_on.verdict(), "lost-reference high leak");
}

#[test]
fn an_owner_computes_when_it_ran_at_every_look() {
    let runs = || Thread {
        state: 'R',
        syscall: None,
        ..thread(SERVER, "", Vec::new())
    };
    let looked = |at: u64| {
        world([conn(1).accepted().eof()])
            .with(Input::Tick { at })
            .with_threads(SERVER, vec![runs()])
    };
    assert_eq!(looked(END - 5 * S).verdict(), "owner-blocked medium leak");
    let at_last = looked(END).tracker();
    assert_eq!(
        super::world::report(&at_last).sites[0].verdict.name(),
        "unknown"
    );
    let idle_between = looked(END - 5 * S)
        .with_threads(SERVER, vec![thread(SERVER, "futex", Vec::new())])
        .with(Input::Tick { at: END })
        .with_threads(SERVER, vec![runs()]);
    assert_eq!(idle_between.verdict(), "unknown low suspect");
}

#[test]
fn a_reader_that_meets_the_end_again_and_again_computes_nothing_else() {
    let runs = Thread {
        state: 'R',
        syscall: None,
        ..thread(SERVER, "", Vec::new())
    };
    let read = |at| {
        let mut read = conn(1).accepted().eof();
        read.candidate.history.eof = Some(operation(SocketOperation::Recv, at, 3));
        world([conn(1).accepted().eof()])
            .with(Input::Tick { at: END - 5 * S })
            .with_threads(SERVER, vec![runs.clone()])
            .with(Input::StuckCandidate(read.candidate))
    };
    assert_eq!(read(END - S).verdict(), "eof-ignored high leak");
    // Read again once, and not since: it does something else.
    assert_eq!(read(END - 40 * S).verdict(), "owner-blocked medium leak");
}

#[test]
fn a_relay_is_an_accepted_and_the_one_connection_opened_for_it() {
    let from = |conn: Conn| world([conn]);
    let partner = |send_q| open(2, (SocketOperation::Connect, STUCK - 4 * S), send_q);
    let eof = || from(conn(1).accepted().eof());
    assert_eq!(
        eof().with_neighbours(&[partner(0)]).verdict(),
        "half-close-not-forwarded medium leak"
    );
    let two = [
        partner(0),
        open(3, (SocketOperation::Connect, STUCK - 3 * S), 0),
    ];
    assert_eq!(
        eof().with_neighbours(&two).verdict(),
        "eof-ignored high leak"
    );
    let of_another = [
        open(3, (SocketOperation::Accept, STUCK - 4 * S - 1), 0),
        partner(0),
    ];
    assert_eq!(
        eof().with_neighbours(&of_another).verdict(),
        "eof-ignored high leak"
    );
    let unread = || {
        from(
            conn(1)
                .accepted()
                .used(SocketOperation::Recv, STUCK - S)
                .recv_q(5000),
        )
    };
    assert_eq!(
        unread().with_neighbours(&[partner(64_000)]).verdict(),
        "reading-paused medium suspect"
    );
    assert_eq!(
        unread().with_neighbours(&[partner(0)]).verdict(),
        "lost-reference high leak"
    );
}

fn collected(by: Stack) -> World {
    let close_counts = CloseCount {
        opened: 1,
        closed: 9,
        count: 40,
    };
    world([conn(1).accepted().used(SocketOperation::Send, STUCK - S)])
        .with(Input::CloseCount(vec![close_counts]))
        .with(Input::Stack { key: 9, stack: by })
}

#[test]
fn only_a_collector_that_closes_all_siblings_is_a_cause() {
    let by = |thread: &str, frames: Vec<Frame>| Stack {
        frames,
        thread: Some(thread.to_owned()),
        pid: Some(SERVER),
        ..Stack::default()
    };
    let close = || vec![libc("close"), frame("dispose", 90)];
    let cleaner = collected(by("Common-Cleaner", close()));
    assert_eq!(cleaner.verdict(), "gc-dependent high leak");
    let cycle = collected(by(
        "python3",
        vec![libc("close"), frame("gc_collect_main", 91)],
    ));
    assert_eq!(cycle.verdict(), "gc-dependent high leak");
    // By other code than that which has used them.
    let program = collected(by("server", close()));
    assert_eq!(program.verdict(), "lost-reference low leak");
}

/// The program calls the function that forgets from two lines; the collector has closed what was opened by way of one.
#[test]
fn the_collector_may_have_closed_what_another_caller_opened() {
    let opened = |below, caller| Stack {
        frames: vec![
            libc("connect"),
            libc(below),
            frame("send", 50),
            frame("main", caller),
        ],
        pid: Some(SERVER),
        ..Stack::default()
    };
    let seen = |function: &str| {
        let by = Stack {
            frames: vec![libc("close"), frame("dispose", 90)],
            thread: Some(function.to_owned()),
            pid: Some(SERVER),
            ..Stack::default()
        };
        collected(by)
            .with(Input::CloseCount(vec![CloseCount {
                opened: 8,
                closed: 9,
                count: 40,
            }]))
            .with(Input::Stack {
                key: 1,
                stack: opened("retry", 61),
            })
            .with(Input::Stack {
                key: 8,
                stack: opened("first", 60),
            })
    };
    assert_eq!(seen("Common-Cleaner").verdict(), "gc-dependent medium leak");
    assert_eq!(seen("server").verdict(), "lost-reference high leak");
}

#[test]
fn at_the_fd_limit_the_unaccepted_are_victims_of_the_leak() {
    let mut full = process(SERVER);
    (full.open_fds, full.fd_limit) = (Some(64), Some(64));
    let conns = [
        conn(1).accepted().eof(),
        conn(2).accepted().eof(),
        conn(3).recv_q(30).unaccepted(),
    ];
    let listen = "0.0.0.0:8080";
    let report = world(conns)
        .with_listener(listen, &[SERVER], 1)
        .with_process(full.clone())
        .report();
    let victim = report
        .sites
        .iter()
        .find(|site| site.verdict.name() == "fd-limit")
        .unwrap();
    assert_eq!(victim.blame.as_ref().unwrap().function.raw(), "drain");
    assert!(
        victim.evidence[0].contains("64 of 64 descriptors"),
        "{:?}",
        victim.evidence
    );
    full.open_fds = Some(63);
    let one = world([conn(3).recv_q(30).unaccepted()]).with_listener(listen, &[SERVER], 1);
    assert_eq!(
        one.with_process(full).site().verdict.name(),
        "never-accepted"
    );
}

#[test]
fn select_cannot_see_descriptors_from_1024_on() {
    let selects = |cookie| {
        let stack = vec![libc("select"), frame("run_loop", 70)];
        world([conn(cookie).accepted().recv_q(40)])
            .with_threads(SERVER, vec![thread(SERVER, "select", stack)])
    };
    assert_eq!(selects(1024).verdict(), "select-limit medium leak");
    assert_eq!(selects(200).verdict(), "never-read low leak");
}

#[test]
fn a_leak_that_goes_on_meets_the_limit_at_a_time_that_is_said() {
    let leaks = |limit| {
        let mut server = process(SERVER);
        (server.open_fds, server.fd_limit) = (Some(600), Some(limit));
        let began = END - 460 * S;
        let conns = (1..=12).map(|nth| conn(nth).accepted().eof().since(began + nth * 30 * S));
        let mut world = world(conns).with_process(server);
        world.run_header.at = began;
        world.site()
    };
    let site = leaks(1024);
    let rate = site.growth_per_minute.unwrap();
    let left = age((1024.0 - 600.0) / rate * 60.0);
    let sentence = format!("{left} = (1024 - 600) / {rate:.1} per minute, at ");
    let all = site.evidence.join("; ");
    assert!(all.contains(&sentence), "{sentence}: {all}");
    let at_limit = leaks(600).evidence.join("; ");
    assert!(!at_limit.contains("runs out"), "{at_limit}");
}
