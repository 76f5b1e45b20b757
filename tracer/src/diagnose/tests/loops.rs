//! Event loops: registrations that cannot tell of the hang-up, and those that have told.

use super::world::{Conn, S, SERVER, STUCK, World, conn, frame, libc, process, thread, world};
use crate::model::{
    actor,
    input::{Activity, AsyncTask, Input, Interest, Thread},
    socket::SocketOperation,
    stack::Frame,
    wait::{FileKind, Target, Wait},
};

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
    let lost = "event-lost medium leak";
    assert_eq!(watched(0x4).verdict(), lost);
    assert_eq!(watched(0x4000_0000).verdict(), lost);
    // Nothing at all is asked for, so that its data stays where it is.
    assert_eq!(watched(0x18).verdict(), "event-lost low leak");
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
    // The loop may have put the request aside, and be told of the end to no purpose.
    assert_eq!(used(STUCK - S, 120), "lost-reference low leak");
    assert_eq!(used(STUCK - S, 1), "lost-reference low leak");
    let answered = conn(1).accepted().used(SocketOperation::Send, STUCK - S);
    let answered = watches(answered, 0x8000_0001).verdict();
    assert_eq!(answered, "lost-reference medium leak");
    let unread = watches(conn(1).accepted().recv_q(120), 0x8000_0001);
    assert_eq!(unread.verdict(), "never-read low leak");
    let working = vec![thread(
        SERVER,
        "write",
        vec![libc("write"), frame("log", 80)],
    )];
    let edge_at_work = watched(0x8000_0001).with_threads(SERVER, working);
    assert_eq!(edge_at_work.verdict(), "unknown low suspect");
}

/// All coroutines of a loop wait while one of them keeps its thread; tasks of a runtime may go on in another one.
#[test]
fn a_loop_that_is_kept_in_one_coroutine_serves_none_of_the_others() {
    let verdict = |used_in: Frame| {
        let kept = Thread {
            wait: Wait::Sleep,
            ..thread(SERVER, "nanosleep", vec![libc("sleep"), frame("ask", 80)])
        };
        watched(0x2001)
            .with_threads(SERVER, vec![kept])
            .with_stack(2, vec![libc("send"), used_in])
            .verdict()
    };
    let coroutine = Frame {
        of_coroutine: true,
        ..frame("answer", 20)
    };
    assert_eq!(verdict(frame("answer", 20)), "owner-blocked medium leak");
    assert_eq!(verdict(coroutine), "owner-blocked medium leak");
    assert_ne!(
        verdict(frame("tokio::net::send", 20)),
        "owner-blocked medium leak"
    );
}

/// An accepting thread, a loop that reads, and a pool: none of its threads has touched the connection that it serves.
#[test]
fn what_a_loop_has_read_for_others_may_be_with_one_that_is_kept() {
    let with = |kind, work: &str, comm: &str| {
        let mut read = conn(1).accepted().used(kind, STUCK - S);
        read.candidate.history.opened.as_mut().unwrap().tid = 901;
        let accepts = thread(901, "accept", vec![libc("accept"), frame("acceptor", 72)]);
        let reads = vec![libc("epoll_wait"), frame("run_loop", 70)];
        let pool = frame("java.util.concurrent.ThreadPoolExecutor.runWorker", 73);
        let mut works = thread(902, "futex", vec![libc("futex"), frame(work, 71), pool]);
        works.comm = comm.to_owned();
        let mut server = process(SERVER);
        server.threads = 3;
        world([read])
            .with_process(server)
            .with_threads(
                SERVER,
                vec![thread(SERVER, "epoll_wait", reads), accepts, works],
            )
            .site()
            .evidence
            .iter()
            .any(|line| line.contains("in the queue of a worker that is busy"))
    };
    let idle = "java.util.concurrent.ThreadPoolExecutor.getTask";
    let read = SocketOperation::Recv;
    assert!(with(read, "buy", "pool-1"));
    assert!(!with(read, idle, "pool-1"));
    // It is another loop, which does such work itself, or the loop itself has answered.
    assert!(!with(read, "buy", "worker-902"));
    assert!(!with(SocketOperation::Send, "buy", "pool-1"));
}

/// Coroutines of C++ leave no trace in the threads that run them in turn.
#[test]
fn a_process_that_was_seen_to_run_coroutines_runs_tasks_though_no_thread_is_in_one_now() {
    let verdict = |function: &str| {
        let site = |cookie, stack| {
            let mut one = conn(cookie)
                .accepted()
                .used(SocketOperation::Send, STUCK - S);
            one.candidate.history.used.as_mut().unwrap().stack = stack;
            one
        };
        let report = world([site(1, 2), site(2, 9)])
            .with_stack(9, vec![libc("send"), frame(function, 74)])
            .with(Input::Activity(vec![Activity {
                cookie: 2,
                history: site(2, 9).candidate.history,
            }]))
            .report();
        let mut sites = report.sites.iter();
        let handled = sites.find(|site| {
            site.blame
                .as_ref()
                .is_some_and(|b| b.function.raw() == "handle")
        });
        let site = handled.unwrap();
        format!("{} {}", site.verdict.name(), site.confidence.name())
    };
    let coroutine = "boost::asio::detail::awaitable_frame_base…";
    assert_eq!(verdict(coroutine), "lost-reference low");
    assert_eq!(verdict("on_read"), "lost-reference high");
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
    assert!(says("told of the hang-up once"), "{:?}", site.evidence);
    assert!(says("tasks or coroutines"), "{:?}", site.evidence);
    let unread = go(conn(1).accepted().recv_q(120));
    assert_eq!(unread.verdict(), "never-read low leak");
}

fn task(id: u64, wait: Wait, holds: &[(u64, u8)], stack: &[&str]) -> AsyncTask {
    let frames = (90..).zip(stack).map(|(line, name)| frame(name, line));
    AsyncTask {
        thread: Thread {
            name: Some(format!("task {id}")),
            wait,
            task: Some(actor::Task {
                pid: SERVER,
                id,
                is_virtual_thread: false,
            }),
            ..thread(0, "", frames.collect())
        },
        holds: holds.to_vec(),
    }
}

/// The loop has read the end; the task that has the connection goes on later, or never.
#[test]
fn a_suspended_task_keeps_its_connection_from_being_closed() {
    let verdict = |tasks: Vec<AsyncTask>| {
        let conn = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
        let pid = SERVER;
        let site = watches(conn.eof(), 1)
            .with(Input::Tasks { pid, tasks })
            .site();
        let blamed = site.blame.map(|blame| blame.function.to_string());
        (
            site.verdict.name(),
            site.confidence.name(),
            blamed.unwrap_or_default(),
        )
    };
    let lock = Wait::Lock {
        address: 0,
        owner: None,
    };
    let having =
        |id, far, wait: &Wait| task(id, wait.clone(), &[(5001, far)], &["fetch", "handle"]);
    let (name, confidence, blamed) = verdict(vec![having(1, 2, &lock), having(2, 3, &lock)]);
    assert_eq!(
        (name, confidence, blamed.as_str()),
        ("owner-blocked", "medium", "fetch")
    );
    // Of two alike it is not known which one.
    assert_eq!(
        verdict(vec![having(1, 2, &lock), having(2, 2, &lock)]).0,
        "eof-ignored"
    );
    // What has another connection, or reads, keeps nothing.
    let other = task(1, lock, &[(5002, 1)], &["fetch"]);
    assert_eq!(verdict(vec![other]).0, "eof-ignored");
    let target = Target {
        fd: -1,
        file: FileKind::Unknown,
    };
    assert_eq!(
        verdict(vec![having(1, 1, &Wait::Receive(target))]).0,
        "eof-ignored"
    );
}
