//! Causes that lie with other sockets or threads: starving pools, blocked owners, relays, collectors, limits.

use tracer_common::state::ESTABLISHED;

use super::world::{
    Conn, END, S, SERVER, START, STUCK, World, conn, frame, libc, operation, process, thread, world,
};
use crate::model::{
    input::{CloseCount, Connection, Input, Interest, Thread},
    quantity::age,
    socket::{Endpoints, History, SocketOperation},
    stack::{Frame, Stack},
};

const INODE: u64 = 77;

/// Another connection of the server, open in both directions.
fn open(cookie: u64, opened: (SocketOperation, u64), send_q: u32) -> (u64, History, Connection) {
    let history = History {
        opened: Some(operation(opened.0, opened.1, 1)),
        used: Some(operation(SocketOperation::Send, opened.1 + S, 2)),
        eof: None,
    };
    let connection = Connection {
        cookie,
        inode: INODE + cookie,
        endpoints: Endpoints {
            local: "10.0.0.1:50000".parse().unwrap(),
            remote: "10.0.0.9:9000".parse().unwrap(),
        },
        state: ESTABLISHED,
        recv_q: 0,
        send_q,
    };
    (cookie, history, connection)
}

fn worker(nth: u32, syscall: &str, inode: u64) -> Thread {
    let stack = vec![libc(syscall), frame("serve", 50), frame("worker", 51)];
    Thread {
        comm: format!("pool-1-thread-{nth}"),
        fd: Some(90),
        socket: Some(inode),
        since: Some(END - 30 * S),
        ..thread(500 + nth, syscall, stack)
    }
}

fn starved(threads: Vec<Thread>) -> World {
    let mut server = process(SERVER);
    server.threads = threads.len() as u32;
    world([conn(1).accepted().recv_q(120)])
        .with_process(server)
        .with_threads(SERVER, threads)
        .with_neighbours(&[open(70, (SocketOperation::Accept, STUCK), 9000)])
}

fn dispatcher() -> Thread {
    thread(
        SERVER,
        "accept",
        vec![libc("accept"), frame("dispatch", 60)],
    )
}

#[test]
fn a_pool_without_a_free_worker_starves_the_queue() {
    let workers = [1, 2, 3].map(|nth| worker(nth, "write", INODE + 70));
    let site = starved([vec![dispatcher()], workers.to_vec()].concat()).site();
    assert_eq!(site.verdict.name(), "worker-starvation");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "serve");
    let holders: Vec<_> = site.stacks.holders.iter().map(|h| h.comm.raw()).collect();
    assert_eq!(holders.first(), Some(&"pool-1-thread-1"));
    assert_eq!(site.stacks.holders[0].since_seconds, Some(30.0));
    let all = site.evidence.join("; ");
    assert!(
        all.contains("3 of 3 threads of the pool pool-1-thread-N"),
        "{all}"
    );
    assert!(
        all.contains("10.0.0.9:9000, whose Send-Q holds 9000 bytes"),
        "{all}"
    );
}

#[test]
fn a_pool_with_a_free_worker_starves_nobody() {
    let unknown = "unknown low suspect";
    let busy = [1, 2].map(|nth| worker(nth, "write", INODE + 70));
    let idle = worker(3, "futex", 0);
    let mut threads = vec![dispatcher()];
    threads.extend(busy);
    threads.push(idle);
    assert_eq!(starved(threads).verdict(), unknown);
    // A reader that waits for its client's next request is idle; one that waits for a server it asked is
    // not.
    let readers = [1, 2, 3].map(|nth| worker(nth, "read", INODE + 70));
    let threads = [vec![dispatcher()], readers.to_vec()].concat();
    assert_eq!(starved(threads.clone()).verdict(), "never-read high leak");
    let mut around = vec![open(70, (SocketOperation::Connect, STUCK - 60 * S), 0)];
    around.extend([1, 2, 3].map(|nth| {
        let mut client = open(80 + nth, (SocketOperation::Accept, STUCK), 0);
        if let Some(used) = &mut client.1.used {
            used.tid = 500 + nth as u32;
        }
        client
    }));
    let asked = starved(threads).with_neighbours(&around);
    assert_eq!(asked.verdict(), "worker-starvation high leak");
}

/// Threads that ship logs or consume a queue are blocked like that when all is well.
#[test]
fn threads_that_serve_no_client_are_no_workers() {
    let shippers = [1, 2].map(|nth| worker(nth, "write", INODE + 70));
    let threads = [vec![dispatcher()], shippers.to_vec()].concat();
    let out = [open(70, (SocketOperation::Connect, STUCK - 60 * S), 9000)];
    let shipping = starved(threads).with_neighbours(&out);
    assert_eq!(shipping.verdict(), "unknown low suspect");
    let sleepers = [1, 2].map(|nth| worker(nth, "nanosleep", 0));
    let threads = [vec![dispatcher()], sleepers.to_vec()].concat();
    assert_eq!(starved(threads).verdict(), "never-read high leak");
}

#[test]
fn workers_whose_writes_get_through_starve_nobody() {
    let workers = [1, 2, 3].map(|nth| worker(nth, "write", INODE + 70));
    let threads = [vec![dispatcher()], workers.to_vec()].concat();
    let flowing =
        starved(threads).with_neighbours(&[open(70, (SocketOperation::Accept, STUCK), 0)]);
    assert_eq!(flowing.verdict(), "unknown low suspect");
}

fn blocked_in_handler() -> World {
    let stack = vec![libc("futex"), frame("lock", 22), frame("handle", 21)];
    world([conn(1).accepted().used(SocketOperation::Recv, STUCK + S)])
        .with_threads(SERVER, vec![thread(SERVER, "futex", stack)])
}

#[test]
fn an_owner_is_blocked_only_while_it_has_not_gone_on() {
    let own = |cookie, at| {
        let mut own = open(cookie, (SocketOperation::Accept, STUCK - 5 * S), 0);
        own.1.used = Some(operation(SocketOperation::Recv, at, 2));
        own
    };
    let site = blocked_in_handler()
        .with_neighbours(&[own(1, STUCK + S)])
        .site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "lock");
    let gone_on = blocked_in_handler().with_neighbours(&[own(1, STUCK + S), own(2, STUCK + 2 * S)]);
    assert_eq!(gone_on.verdict(), "unknown low suspect");
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

fn watched(events: u32) -> World {
    watches(
        conn(1).accepted().used(SocketOperation::Send, STUCK - S),
        events,
    )
}

fn watches(conn: Conn, events: u32) -> World {
    let stack = vec![libc("epoll_wait"), frame("run_loop", 70)];
    world([conn])
        .with(Input::Epoll {
            pid: SERVER,
            interests: vec![Interest {
                fd: 1,
                events,
                inode: 0,
                set: 0,
            }],
        })
        .with_threads(SERVER, vec![thread(SERVER, "epoll_wait", stack)])
}

#[test]
fn an_event_is_lost_when_the_mask_cannot_tell_of_it() {
    let lost = "event-lost high leak";
    assert_eq!(watched(0x4).verdict(), lost);
    assert_eq!(watched(0x4000_0000).verdict(), lost);
    assert_eq!(watched(0x2000).verdict(), "unknown low suspect");
}

/// Read after the FIN had come, and not to the end: there will be no other edge. A FIN that came
/// later was an edge of its own.
#[test]
fn an_edge_is_lost_when_it_was_not_read_to_the_end() {
    let used = |at, unread| {
        let conn = conn(1)
            .accepted()
            .used(SocketOperation::Recv, at)
            .recv_q(unread);
        watches(conn, 0x8000_0001).verdict()
    };
    assert_eq!(used(STUCK + S, 120), "event-lost medium leak");
    assert_eq!(used(STUCK - S, 120), "lost-reference medium leak");
    assert_eq!(used(STUCK - S, 1), "lost-reference medium leak");
    let unread = watches(conn(1).accepted().recv_q(120), 0x8000_0001);
    assert_eq!(unread.verdict(), "never-read medium leak");
    let working = vec![thread(
        SERVER,
        "write",
        vec![libc("write"), frame("log", 80)],
    )];
    let edge_at_work = watched(0x8000_0001).with_threads(SERVER, working);
    assert_eq!(edge_at_work.verdict(), "unknown low suspect");
}

/// Go's runtime registers every connection like that, whatever becomes of the goroutine.
#[test]
fn a_runtime_that_watches_for_its_tasks_loses_no_event() {
    let go = |conn: Conn| {
        let stack = vec![
            frame("internal/poll.(*FD).Write", 3),
            frame("main.handle", 5),
        ];
        watches(conn, 0x8000_201d)
            .with_stack(1, stack.clone())
            .with_stack(2, stack)
    };
    let used = || conn(1).accepted().used(SocketOperation::Recv, STUCK + S);
    let site = go(used().recv_q(120)).site();
    assert_eq!(site.verdict.name(), "lost-reference");
    assert_eq!(site.confidence.name(), "low");
    let says = |part: &str| site.evidence.iter().any(|line| line.contains(part));
    assert!(
        says("watches 1 of 1, edge-triggered"),
        "{:?}",
        site.evidence
    );
    assert!(says("goroutines"), "{:?}", site.evidence);
    let unread = go(conn(1).accepted().recv_q(120));
    assert_eq!(unread.verdict(), "never-read low leak");
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
    let program = collected(by("server", close()));
    assert_eq!(program.verdict(), "lost-reference high leak");
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
    assert_eq!(selects(200).verdict(), "never-read high leak");
}

#[test]
fn a_leak_that_goes_on_meets_the_limit_at_a_time_that_is_said() {
    let leaks = |limit| {
        let mut server = process(SERVER);
        (server.open_fds, server.fd_limit) = (Some(600), Some(limit));
        let conns = (1..=12).map(|nth| conn(nth).accepted().eof().since(START + nth * 3 * S - S));
        world(conns).with_process(server).site()
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
