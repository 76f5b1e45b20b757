//! Event loops: registrations that cannot tell of the hang-up, and those that have told.

use super::world::{Conn, S, SERVER, STUCK, World, conn, frame, libc, thread, world};
use crate::model::{
    input::{Input, Interest},
    socket::SocketOperation,
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
    assert!(says("told of the hang-up once"), "{:?}", site.evidence);
    assert!(says("tasks or coroutines"), "{:?}", site.evidence);
    let unread = go(conn(1).accepted().recv_q(120));
    assert_eq!(unread.verdict(), "never-read low leak");
}
