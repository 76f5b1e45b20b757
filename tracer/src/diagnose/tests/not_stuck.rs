//! What is no leak is not in the report at all.

use tracer_common::state::{CLOSE_WAIT, LAST_ACK};

use super::{
    crowds::open,
    world::{END, MIN_AGE, S, SERVER, STUCK, conn, frame, libc, report, thread, world},
};
use crate::model::{
    input::{Input, Inventory, Thread},
    socket::SocketOperation,
    wait::{FileKind, Target, Wait},
};

#[test]
fn a_young_socket_is_silent_until_it_is_as_old_as_asked_for() {
    let aged = |age| world([conn(1).accepted().eof().since(END - age)]).report();
    assert_eq!(aged(MIN_AGE - 1).totals.stuck, 0);
    assert_eq!(aged(MIN_AGE - 1).totals.close_wait, 1);
    assert_eq!(aged(MIN_AGE).totals.stuck, 1);
}

/// A `struct socket` without a file: NFS, SMC and the like; the kernel closes it by itself.
#[test]
fn a_socket_of_the_kernel_is_silent() {
    let mut kernels = conn(1).held_by(&[]);
    kernels.item.inode = 0;
    let report = world([kernels]).report();
    assert_eq!((report.totals.close_wait, report.totals.stuck), (1, 0));
}

/// The peer may close its half and go on reading for as long as it likes.
#[test]
fn a_half_closed_connection_that_still_sends_is_silent() {
    let sent = |at| {
        world([conn(1).accepted().used(SocketOperation::Send, at)])
            .report()
            .totals
            .stuck
    };
    assert_eq!(sent(END - S), 0);
    assert_eq!(sent(END - MIN_AGE + 1), 0);
    // Nothing sent for the threshold, or before the peer hung up, or only received.
    assert_eq!(sent(END - MIN_AGE), 1);
    assert_eq!(sent(STUCK - S), 1);
    let received = world([conn(1).accepted().used(SocketOperation::Recv, END - S)]);
    assert_eq!(received.report().totals.stuck, 1);
}

/// A write that waits is no operation yet, but what it has written so far counts.
#[test]
fn a_half_closed_connection_whose_peer_takes_slowly_what_is_written_is_silent() {
    let stuck = |written: u32, later: u64, looks: usize| {
        let (_, _, mut connection) = open(1, (SocketOperation::Accept, STUCK), 4000);
        (connection.state, connection.inode) = (CLOSE_WAIT, 5001);
        let target = Target {
            fd: 1,
            file: FileKind::Socket(5001),
        };
        let writes = Thread {
            wait: Wait::Send(target),
            since: Some(STUCK),
            ..thread(SERVER, "sendto", vec![libc("send"), frame("copy", 70)])
        };
        let conn = || conn(1).accepted().used(SocketOperation::Send, STUCK - S);
        let mut first = conn();
        first.item.send_q = 4000;
        let mut tracker = world([first]).tracker();
        let look = |at, written| {
            let mut item = conn().item;
            (item.written_to, item.send_q) = (written, 4000);
            Input::Inventory(Inventory {
                from: at - S,
                to: at,
                items: vec![item],
                holders: Vec::new(),
                complete: true,
            })
        };
        if looks > 1 {
            tracker.apply(look(END + S, written));
            tracker.apply(Input::Tick { at: END + later });
            tracker.apply(look(END + later, written));
        }
        let threads = vec![writes];
        let pid = SERVER;
        tracker.apply(Input::Threads { pid, threads });
        tracker.apply(Input::Connections(vec![connection]));
        report(&tracker).totals.stuck
    };
    assert_eq!(stuck(70_000, 2 * S, 3), 0);
    assert_eq!(stuck(0, 2 * S, 3), 1);
    assert_eq!(stuck(70_000, S + MIN_AGE, 3), 1);
    // One look cannot tell.
    assert_eq!(stuck(0, 0, 1), 0);
}

/// Only the inventory tells who holds a socket: before it has, nothing is said.
#[test]
fn a_socket_no_inventory_has_seen_is_silent() {
    let mut world = world([conn(1).accepted().eof()]);
    world.conns[0].candidate.since = END - MIN_AGE;
    let candidate = world.conns[0].candidate;
    world.conns.clear();
    let mut tracker = world.tracker();
    tracker.apply(Input::StuckCandidate(candidate));
    assert_eq!(tracker.count(), 1);
    assert_eq!(report(&tracker).totals.stuck, 0);
}

#[test]
fn a_socket_that_waits_for_its_last_ack_is_silent() {
    let mut left = conn(1).accepted().eof();
    left.item.state = LAST_ACK;
    let report = world([left]).report();
    assert_eq!((report.totals.close_wait, report.totals.stuck), (0, 0));
    assert_eq!(conn(1).item.state, CLOSE_WAIT);
}
