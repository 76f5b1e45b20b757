//! Single stories: what counts as drift, what a listener is, what an evicted history is worth.

use tracer_common::state::{CLOSE, CLOSE_WAIT, ESTABLISHED, LAST_ACK, LISTEN, SHUTDOWN_MASK};

use super::arbitrary::{S, run_header};
use crate::{
    model::{
        input::{Input, Inventory, Item, StuckCandidate, Task, Transition},
        socket::{Endpoints, Entry, History, Holder, LastOperation, SocketOperation},
    },
    track::Tracker,
};

const COOKIE: u64 = 7;

fn endpoints() -> Endpoints {
    Endpoints {
        local: "10.0.0.1:80".parse().unwrap(),
        remote: "10.0.0.2:40000".parse().unwrap(),
    }
}

pub fn candidate(since: u64) -> StuckCandidate {
    StuckCandidate {
        cookie: COOKIE,
        state: CLOSE_WAIT,
        since,
        netns: 1,
        endpoints: endpoints(),
        entry: Entry {
            old_state: ESTABLISHED,
            error: 0,
            shutdown: 1,
            only_fin_unread: false,
        },
        history: History::default(),
    }
}

pub fn item(state: u8, last_packet: u64) -> Item {
    Item {
        cookie: COOKIE,
        netns: 1,
        endpoints: endpoints(),
        state,
        shutdown: 1,
        has_socket: true,
        dead: false,
        inode: 5,
        recv_q: 1,
        send_q: 128,
        last_packet,
        last_data: 0,
        read_to: 0,
        written_to: 0,
        holders: smallvec::smallvec![Holder { pid: 9, fd: 4 }],
    }
}

pub fn inventory(at: u64, complete: bool, items: Vec<Item>) -> Input {
    Input::Inventory(Inventory {
        from: at,
        to: at + 1,
        items,
        holders: Vec::new(),
        complete,
    })
}

pub fn change(at: u64, old: u8, new: u8, shutdown: u8, by: Option<u32>) -> Transition {
    Transition {
        at,
        cookie: COOKIE,
        since: 0,
        stack: 0,
        endpoints: endpoints(),
        netns: 1,
        old,
        new,
        shutdown,
        dead: false,
        has_socket: true,
        untouched: false,
        recv_q: None,
        task: by.map(|pid| Task {
            pid,
            tid: pid,
            comm: "server".to_owned(),
            exiting: false,
            killed: false,
        }),
    }
}

pub fn tracker(inputs: impl IntoIterator<Item = Input>) -> Tracker {
    let mut tracker = Tracker::default();
    tracker.apply(Input::RunHeader(Box::new(run_header())));
    inputs.into_iter().for_each(|input| tracker.apply(input));
    tracker
}

fn operation(at: u64, kind: SocketOperation) -> LastOperation {
    LastOperation {
        goroutine: None,
        virtual_thread: None,
        stack: 1,
        at,
        pid: 9,
        tid: 9,
        kind,
        sp: 0,
        switches: 0,
    }
}

#[test]
fn a_socket_that_goes_without_a_word_is_drift_an_inventory_later() {
    let gone = [
        Input::StuckCandidate(candidate(110 * S)),
        inventory(115 * S, true, vec![item(CLOSE_WAIT, 110 * S)]),
        inventory(120 * S, true, vec![]),
    ];
    assert_eq!(tracker(gone.clone()).drift().vanished, 0);
    let later = gone.into_iter().chain([inventory(130 * S, true, vec![])]);
    assert_eq!(tracker(later).drift().vanished, 1);
}

#[test]
fn the_word_may_come_after_the_inventory() {
    let tracker = tracker([
        Input::StuckCandidate(candidate(110 * S)),
        inventory(115 * S, true, vec![item(CLOSE_WAIT, 110 * S)]),
        inventory(120 * S, true, vec![]),
        Input::Destroyed(change(119 * S, CLOSE_WAIT, CLOSE, 3, None)),
        inventory(130 * S, true, vec![]),
    ]);
    assert_eq!(tracker.drift().vanished, 0);
}

/// The kernel program says nothing of what ends within the grace period.
#[test]
fn a_young_socket_goes_silently() {
    let tracker = tracker([
        inventory(115 * S, true, vec![item(CLOSE_WAIT, 115 * S)]),
        inventory(120 * S, true, vec![]),
        inventory(130 * S, true, vec![]),
    ]);
    assert_eq!(tracker.count(), 0);
    assert_eq!(tracker.drift().vanished, 0);
}

#[test]
fn an_old_socket_nobody_told_of_is_drift_except_at_the_start() {
    let old = || vec![item(CLOSE_WAIT, 101 * S)];
    let tracker = tracker([inventory(110 * S, true, old())]);
    assert_eq!(tracker.drift().unseen, 0);
    let late = [
        inventory(110 * S, true, vec![]),
        inventory(120 * S, true, old()),
    ];
    assert_eq!(self::tracker(late).drift().unseen, 1);
}

#[test]
fn close_ends_it_and_shutdown_does_not() {
    let closed = tracker([
        Input::StuckCandidate(candidate(110 * S)),
        Input::Transition(change(
            120 * S,
            CLOSE_WAIT,
            LAST_ACK,
            SHUTDOWN_MASK,
            Some(9),
        )),
    ]);
    assert_eq!(closed.count(), 0);
    let half = tracker([
        Input::StuckCandidate(candidate(110 * S)),
        Input::Transition(change(120 * S, CLOSE_WAIT, LAST_ACK, 1, Some(9))),
        Input::Transition(change(121 * S, LAST_ACK, CLOSE, SHUTDOWN_MASK, None)),
    ]);
    let socket = half.sockets().next().unwrap();
    assert_eq!(socket.state, CLOSE);
    // Useless since the peer hung up, not since the kernel gave up.
    assert_eq!(socket.since, 110 * S);
}

#[test]
fn an_exact_beginning_replaces_an_estimate_and_never_the_other_way() {
    let tracker = tracker([
        inventory(115 * S, true, vec![item(CLOSE_WAIT, 112 * S)]),
        Input::StuckCandidate(candidate(105 * S)),
        inventory(116 * S, true, vec![item(CLOSE_WAIT, 113 * S)]),
    ]);
    let socket = tracker.sockets().next().unwrap();
    assert_eq!(
        (socket.since, socket.since_is_lower_bound),
        (105 * S, false)
    );
}

#[test]
fn a_socket_evicted_twice_keeps_how_it_was_opened() {
    let opened = History {
        opened: Some(operation(101 * S, SocketOperation::Accept)),
        ..History::default()
    };
    let used = History {
        used: Some(operation(102 * S, SocketOperation::Recv)),
        ..History::default()
    };
    let slots_evicted = |history| Input::History {
        cookie: COOKIE,
        history,
    };
    let tracker = tracker([
        slots_evicted(opened),
        slots_evicted(used),
        Input::StuckCandidate(candidate(110 * S)),
    ]);
    let history = *tracker.sockets().next().unwrap().history;
    assert_eq!((history.opened, history.used), (opened.opened, used.used));
}

#[test]
fn listeners_do_not_pile_up_and_reuseport_is_several() {
    let listening = |cookie, waiting| Item {
        cookie,
        recv_q: waiting,
        ..item(LISTEN, 0)
    };
    let mut tracker = tracker([inventory(
        110 * S,
        true,
        vec![listening(1, 0), listening(2, 0)],
    )]);
    for waiting in 1..5 {
        tracker.apply(inventory(
            111 * S,
            false,
            vec![listening(1, waiting), listening(2, waiting)],
        ));
    }
    assert_eq!(tracker.listeners.len(), 2);
    assert!(
        tracker
            .listeners
            .iter()
            .all(|listener| listener.waiting == 4)
    );
}

#[test]
fn the_most_specific_listener_of_the_namespace_took_it() {
    let listening = |cookie, netns, local: &str, waiting| Item {
        cookie,
        netns,
        recv_q: waiting,
        endpoints: Endpoints {
            local: local.parse().unwrap(),
            remote: "0.0.0.0:0".parse().unwrap(),
        },
        ..item(LISTEN, 0)
    };
    let tracker = tracker([
        Input::StuckCandidate(candidate(110 * S)),
        inventory(
            110 * S,
            true,
            vec![
                item(CLOSE_WAIT, 110 * S),
                listening(1, 1, "0.0.0.0:80", 1),
                listening(2, 1, "10.0.0.1:80", 2),
                listening(3, 2, "10.0.0.1:80", 3),
                listening(4, 1, "10.0.0.1:81", 4),
            ],
        ),
    ]);
    let listener = tracker
        .listener_of(tracker.sockets().next().unwrap())
        .unwrap();
    assert_eq!(listener.waiting, 2);
}

#[test]
fn only_an_exit_that_ends_what_was_stuck_long_enough_is_remembered() {
    let ended = |at, exiting, shown: bool| {
        let mut end = change(at, CLOSE_WAIT, LAST_ACK, 3, Some(9));
        end.task.as_mut().unwrap().exiting = exiting;
        let seen = inventory(111 * S, true, vec![item(CLOSE_WAIT, 110 * S)]);
        let inputs = [Input::StuckCandidate(candidate(110 * S))].into_iter();
        let inputs = inputs
            .chain(shown.then_some(seen))
            .chain([Input::Transition(end)]);
        tracker(inputs)
            .ended()
            .map(crate::track::Socket::ended_at)
            .collect::<Vec<_>>()
    };
    assert_eq!(ended(900 * S, true, true), [Some(900 * S)]);
    assert!(ended(900 * S, false, true).is_empty());
    assert!(ended(111 * S, true, true).is_empty());
    assert!(ended(900 * S, true, false).is_empty());
}

/// The inventory that no longer has it may come before the word of its end.
#[test]
fn an_exit_is_remembered_also_when_the_word_of_it_comes_late() {
    let mut end = change(900 * S, CLOSE_WAIT, LAST_ACK, 3, Some(9));
    end.task.as_mut().unwrap().exiting = true;
    let tracker = tracker([
        Input::StuckCandidate(candidate(110 * S)),
        inventory(111 * S, true, vec![item(CLOSE_WAIT, 110 * S)]),
        inventory(901 * S, true, vec![]),
        Input::Transition(end),
    ]);
    assert_eq!(tracker.ended().count(), 1);
    assert_eq!(tracker.count(), 0);
}
