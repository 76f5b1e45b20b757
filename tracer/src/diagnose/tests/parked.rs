//! Event loops that take connections out for a while, and what they do not put back.

use super::world::{Conn, S, SERVER, STUCK, World, conn, frame, libc, thread, world};
use crate::model::{
    input::{EpollChange, EpollOperation, Input, Interest, LoopsWatched},
    report::Site,
    socket::SocketOperation,
    stack::{Frame, Tier},
};

fn change(cookie: u64, at: u64, change: EpollOperation, events: u32) -> EpollChange {
    EpollChange {
        at,
        pid: SERVER,
        tid: SERVER,
        set: 3,
        cookie,
        stack: 0,
        change,
        events,
    }
}

/// A loop that holds sockets of others, and has taken three out and put them back.
fn loop_with_a_habit(conns: Vec<Conn>, own: &[EpollChange]) -> World {
    use EpollOperation::{Add, Remove};
    let back = |cookie| {
        [
            change(cookie, STUCK, Remove, 0),
            change(cookie, STUCK + S, Add, 1),
        ]
    };
    let changes = (70..73).flat_map(back).chain(own.iter().copied());
    let stack = vec![libc("epoll_wait"), frame("run_loop", 70)];
    world(conns)
        .with(Input::Epoll {
            pid: SERVER,
            interests: vec![Interest {
                fd: 999,
                events: 1,
                inode: 0,
                set: 3,
            }],
        })
        .with(Input::EpollChanges(changes.collect()))
        .with_threads(SERVER, vec![thread(SERVER, "epoll_wait", stack)])
}

#[test]
fn what_is_taken_out_of_a_loop_and_not_put_back_is_parked() {
    let used = |n| {
        conn(n)
            .accepted()
            .used(SocketOperation::Recv, STUCK - 2 * S)
    };
    let out = |at| change(1, at, EpollOperation::Remove, 0);
    let parked = loop_with_a_habit(vec![used(1)], &[out(STUCK - S)]);
    assert_eq!(parked.verdict(), "parked medium suspect");
    // Used since.
    let used_since = loop_with_a_habit(vec![used(1)], &[out(STUCK - 3 * S)]);
    assert_ne!(used_since.site().verdict.name(), "parked");
    // Put back after the changes were watched.
    let watched = loop_with_a_habit(vec![used(1)], &[out(STUCK - S)]).with(Input::Epoll {
        pid: SERVER,
        interests: vec![Interest {
            fd: 1,
            events: 1,
            inode: 0,
            set: 3,
        }],
    });
    assert_ne!(watched.site().verdict.name(), "parked");
}

/// Read in one function and taken out in another: the latter is who does not put it back.
#[test]
fn who_took_it_out_is_blamed_and_not_the_loop_that_told_the_kernel_later() {
    let used = || {
        let conn = conn(1).accepted();
        conn.used(SocketOperation::Recv, STUCK - 2 * S)
    };
    let out = EpollChange {
        stack: 50,
        ..change(1, STUCK - S, EpollOperation::Remove, 0)
    };
    let blamed = |frames: Vec<Frame>| {
        let world = loop_with_a_habit(vec![used()], &[out]).with_stack(50, frames);
        let site = world.site();
        assert_eq!(site.verdict.name(), "parked");
        let blamed = site.blame.map(|frame| frame.function.to_string());
        (blamed, site.stacks.taken_out.is_some())
    };
    let ctl = libc("epoll_ctl");
    let by_handler = vec![
        ctl.clone(),
        frame("hold_back", 80),
        frame("on_request", 81),
        frame("run_loop", 70),
    ];
    assert_eq!(blamed(by_handler), (Some("hold_back".to_owned()), true));
    let by_loop = vec![ctl, frame("run_loop", 71)];
    let (function, _) = blamed(by_loop);
    assert_ne!(function.as_deref(), Some("run_loop"));
    assert!(function.is_some(), "who used it last");
}

/// Nothing shows that others come back: forgotten, by who took it out.
#[test]
fn who_takes_it_out_of_the_loop_forgets_it() {
    let used = conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - 2 * S);
    let out = EpollChange {
        stack: 50,
        ..change(1, STUCK - S, EpollOperation::Remove, 0)
    };
    let stack = vec![
        libc("epoll_ctl"),
        frame("give_up", 80),
        frame("run_loop", 70),
    ];
    let waits = vec![libc("epoll_wait"), frame("run_loop", 70)];
    let site = world([used])
        .with(Input::EpollChanges(vec![out]))
        .with_stack(50, stack)
        .with_threads(SERVER, vec![thread(SERVER, "epoll_wait", waits)])
        .site();
    assert_eq!(site.verdict.name(), "lost-reference");
    let blame = site.blame.expect("somebody is blamed");
    assert_eq!(blame.function.to_string(), "give_up");
    let said = "taken out of the event loop in give_up after the last use";
    assert!(site.summary.contains(said), "{}", site.summary);
}

/// A library stops reading what nobody takes from it; who opened the connection with it should have taken that.
#[test]
fn a_library_that_takes_it_out_is_blamed_alone_only() {
    let blamed = |opener: Frame| {
        let conn = conn(1).connected().recv_q(28_000);
        let used = conn.used(SocketOperation::Recv, STUCK - 2 * S);
        let out = EpollChange {
            stack: 50,
            ..change(1, STUCK - S, EpollOperation::Remove, 0)
        };
        let library = Frame {
            tier: Some(Tier::Library),
            ..frame("pause", 80)
        };
        let waits = vec![libc("epoll_wait")];
        let site = world([used])
            .with(Input::EpollChanges(vec![out]))
            .with_stack(1, vec![libc("connect"), opener])
            .with_stack(2, vec![libc("recv")])
            .with_stack(50, vec![libc("epoll_ctl"), library])
            .with_threads(SERVER, vec![thread(SERVER, "epoll_wait", waits)])
            .site();
        assert_eq!(site.verdict.name(), "lost-reference");
        site.blame.map(|frame| frame.function.to_string())
    };
    let own = frame("check_stock", 10);
    assert_eq!(blamed(own).as_deref(), Some("check_stock"));
    assert_eq!(blamed(libc("start")).as_deref(), Some("pause"));
}

/// What comes back again and again and is never closed proves no habit of serving it: it may be of no more use.
#[test]
fn those_that_came_back_must_have_ended() {
    let used = |n| {
        conn(n)
            .accepted()
            .used(SocketOperation::Recv, STUCK - 2 * S)
    };
    let out = |n| change(n, STUCK - S, EpollOperation::Remove, 0);
    // These three are the ones that were put back before.
    let all = vec![used(1), used(70), used(71), used(72)];
    let own = [out(1), out(70), out(71), out(72)];
    let world = loop_with_a_habit(all, &own);
    assert_eq!(world.site().verdict.name(), "lost-reference");
}

/// One of two left its set before that was watched: one cause, one finding, and no more sure than it can be.
#[test]
fn what_was_used_last_where_others_are_parked_goes_with_them() {
    let used = |n| {
        conn(n)
            .accepted()
            .used(SocketOperation::Recv, STUCK - 2 * S)
    };
    let out = change(1, STUCK - S, EpollOperation::Remove, 0);
    let world = loop_with_a_habit(vec![used(1), used(2)], &[out]);
    let site = world.site();
    assert_eq!((site.verdict.name(), site.count), ("parked", 2));
    assert_eq!(site.confidence.name(), "low");
    let alone = loop_with_a_habit(vec![used(2)], &[]);
    assert_ne!(alone.site().verdict.name(), "parked");
}

/// A loop may take connections out and put them back; whether it does has to be seen before one is surely forgotten.
#[test]
fn what_is_in_no_loop_is_surely_forgotten_once_the_loop_was_watched() {
    let forgotten = |watched_for: u64| {
        let used = conn(1)
            .accepted()
            .used(SocketOperation::Recv, STUCK - 2 * S);
        let watched = LoopsWatched {
            pid: SERVER,
            from: STUCK,
            to: STUCK + watched_for,
        };
        let stack = vec![libc("epoll_wait"), frame("run_loop", 70)];
        world([used])
            .with(Input::LoopsWatched(watched))
            .with_threads(SERVER, vec![thread(SERVER, "epoll_wait", stack)])
            .site()
    };
    let is_open = |site: &Site| {
        assert_eq!(site.verdict.name(), "lost-reference");
        let said = "its event loop may have taken it out for a while";
        site.evidence.iter().any(|line| line.contains(said))
    };
    assert!(is_open(&forgotten(S)));
    assert!(!is_open(&forgotten(10 * S)));
}
