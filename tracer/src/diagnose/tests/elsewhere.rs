//! Sockets whose trouble is not in the code that used them: `never-accepted`, `inherited-fd`,
//! `fd-in-flight`, `process-stopped`.

use tracer_common::state::{CLOSE, ESTABLISHED};

use super::crowds::open;
use super::world::{
    END, S, SERVER, STUCK, World, conn, frame, libc, names, process, report, thread, world,
};
use crate::model::{
    input::{Input, Interest, Inventory, Thread},
    report::Direction,
    socket::{Entry, SocketOperation},
    stack::Frame,
    wait::Wait,
};

const CHILD: u32 = 200;

#[test]
fn never_accepted_is_proven_by_no_socket_and_no_inode() {
    let queue = (1..4).map(|n| conn(n).unaccepted().recv_q(17));
    let blocked = thread(
        SERVER,
        "futex",
        vec![libc("futex"), frame("reload_config", 50)],
    );
    let site = world(queue)
        .with_listener("0.0.0.0:8080", &[SERVER], 3)
        .with_threads(SERVER, vec![blocked])
        .site();
    assert_eq!(site.verdict.name(), "never-accepted");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.direction, Some(Direction::Unaccepted));
    assert_eq!(site.count, 3);
    // A single thread can only be the one that should accept.
    assert_eq!(site.blame.unwrap().function.raw(), "reload_config");
    assert_eq!(site.process.unwrap().pid, SERVER);
}

/// Processes that share an address (`SO_REUSEPORT`) have a queue each.
#[test]
fn of_listeners_of_one_address_the_one_with_the_queue_is_meant() {
    let reloads = || thread(CHILD, "futex", vec![libc("futex"), frame("reload", 50)]);
    let accepts = || thread(SERVER, "accept", vec![libc("accept"), frame("main", 1)]);
    let site = world((1..4).map(|n| conn(n).unaccepted().recv_q(17)))
        .with_process(process(CHILD))
        .with_listener("0.0.0.0:8080", &[SERVER], 0)
        .with_listener("0.0.0.0:8080", &[CHILD], 3)
        .with_threads(SERVER, vec![accepts()])
        .with_threads(CHILD, vec![reloads()])
        .site();
    assert_eq!(site.verdict.name(), "never-accepted");
    assert_eq!(site.blame.unwrap().function.raw(), "reload");
    let says = "the accept queue of 0.0.0.0:8080 holds 3 connections";
    assert!(site.evidence.iter().any(|line| line.contains(says)));
}

/// A program that serves one at a time, and waits in a loop that is not its own: that of a client library.
#[test]
fn who_waits_in_another_loop_than_that_of_the_listener_accepts_nobody() {
    const LISTENER: u32 = 250;
    const OTHER: u32 = 9;
    let blamed = |inside: Vec<Frame>, watched: u32| {
        let waits = Wait::Epoll { set: 7 };
        let outside = [frame("serve", 12), frame("main", 1)];
        let stack: Vec<Frame> = inside.into_iter().chain(outside.clone()).collect();
        let only = Thread {
            wait: waits,
            ..thread(SERVER, "epoll_wait", stack)
        };
        let accept = [libc("accept")].into_iter().chain(outside).collect();
        let interest = |fd| Interest {
            fd,
            events: 1,
            inode: 9000,
            set: 7,
        };
        let site = world([conn(1).unaccepted()])
            .with_listener("0.0.0.0:8080", &[SERVER], 1)
            .with_threads(SERVER, vec![only])
            .with_neighbours(&[open(61, (SocketOperation::Accept, STUCK - 9 * S), 0)])
            .with(Input::Epoll {
                pid: SERVER,
                interests: vec![interest(watched)],
            })
            .with_stack(1, accept)
            .site();
        site.blame.map(|blame| blame.function.to_string())
    };
    let asks = || vec![libc("epoll_wait"), frame("ask", 80)];
    assert_eq!(blamed(asks(), OTHER).as_deref(), Some("ask"));
    // It is the loop of the server, by whatever name that waits.
    assert_eq!(blamed(asks(), LISTENER).as_deref(), Some("serve"));
    let idle = vec![libc("epoll_wait")];
    assert_eq!(blamed(idle, OTHER).as_deref(), Some("serve"));
}

#[test]
fn never_accepted_without_its_listener_is_less_sure() {
    assert_eq!(
        world([conn(1).unaccepted()]).verdict(),
        "never-accepted medium leak"
    );
    let other_port = world([conn(1).unaccepted()]).with_listener("0.0.0.0:81", &[SERVER], 3);
    assert_eq!(other_port.verdict(), "never-accepted medium leak");
}

/// Of several threads none is proven to be the acceptor: listed, not blamed.
#[test]
fn never_accepted_blames_no_thread_of_several() {
    let threads = (0..2).map(|n| thread(SERVER + n, "futex", vec![frame("work", 60)]));
    let site = world([conn(1).unaccepted()])
        .with_listener("0.0.0.0:8080", &[SERVER], 1)
        .with_threads(SERVER, threads.collect())
        .site();
    assert_eq!(site.blame, None);
    assert_eq!(site.stacks.holders.len(), 2);
}

fn child_holds() -> World {
    let inherited = conn(1)
        .accepted()
        .used(SocketOperation::Recv, END - 80 * S)
        .held_by(&[CHILD]);
    let mut helper = process(CHILD);
    helper.exe = Some("/usr/bin/helper".to_owned());
    helper.comm = "helper".to_owned();
    world([inherited])
        .with_process(helper)
        .with_threads(CHILD, vec![thread(CHILD, "pause", vec![])])
        .with_epoll(CHILD, &[])
}

#[test]
fn inherited_fd_is_proven_when_nobody_who_used_it_holds_it() {
    let site = child_holds().site();
    assert_eq!(site.verdict.name(), "inherited-fd");
    assert_eq!(site.confidence.name(), "high");
    assert!(site.summary.contains("helper (pid 200) still holds a copy"));
    assert_eq!(site.process.unwrap().comm.raw(), "helper");
    assert_eq!(site.blame.unwrap().function.raw(), "handle");
}

/// That a reset has ended it meanwhile keeps no descriptor open.
#[test]
fn inherited_fd_is_told_of_what_has_ended_as_well() {
    let mut world = child_holds();
    let conn = world.conns.remove(0);
    let reset = Entry {
        old_state: ESTABLISHED,
        error: 104,
        shutdown: 1,
        only_fin_unread: false,
    };
    world.conns.push(conn.state(CLOSE, reset));
    assert_eq!(names(&world.report().sites), ["inherited-fd"]);
}

#[test]
fn inherited_fd_is_not_claimed_while_its_user_still_holds_it() {
    let both = || {
        let mut world = child_holds();
        let conn = world.conns.remove(0);
        world.conns.push(conn.held_by(&[SERVER, CHILD]));
        world
    };
    assert_eq!(names(&both().report().sites), ["lost-reference"]);
}

#[test]
fn inherited_fd_is_not_claimed_when_a_process_that_worked_with_it_holds_it() {
    // Accepted in the parent, served by the child: the child is the one who forgot it.
    let mut world = child_holds();
    world.conns[0].candidate.history.used.as_mut().unwrap().pid = CHILD;
    assert_eq!(names(&world.report().sites), ["lost-reference"]);
}

#[test]
fn inherited_fd_is_not_claimed_without_history_or_beyond_a_pid_namespace() {
    let mut unseen = child_holds();
    unseen.run_header.some_processes_unseen = true;
    assert_eq!(names(&unseen.report().sites), ["lost-reference"]);
    let old = world([conn(1).older().held_by(&[CHILD])]).with_process(process(CHILD));
    assert_eq!(names(&old.report().sites), ["unknown"]);
}

fn in_flight() -> World {
    world([conn(1).accepted().held_by(&[])])
}

#[test]
fn fd_in_flight_is_proven_by_an_inode_and_no_holder() {
    let site = in_flight().site();
    assert_eq!(site.verdict.name(), "fd-in-flight");
    assert_eq!(site.confidence.name(), "medium");
    assert_eq!(site.process, None);
    assert_eq!(site.processes, 0);
}

#[test]
fn fd_in_flight_is_not_claimed_when_a_holder_may_be_out_of_sight() {
    let mut unseen = in_flight();
    unseen.run_header.some_processes_unseen = true;
    assert_eq!(names(&unseen.report().sites), ["unknown"]);
    // Lost events, and no complete look since.
    let mut tracker = in_flight().tracker();
    tracker.apply(Input::Counters(crate::model::input::Counters {
        lost: 1,
        ..Default::default()
    }));
    assert_eq!(names(&report(&tracker).sites), ["unknown"]);
}

/// Holders are read before sockets: what is accepted in between seems to have none.
#[test]
fn fd_in_flight_is_not_claimed_of_what_was_accepted_during_the_look() {
    let mut used_sockets = in_flight();
    used_sockets.conns[0]
        .candidate
        .history
        .opened
        .as_mut()
        .unwrap()
        .at = END - S / 2;
    assert_eq!(names(&used_sockets.report().sites), ["unknown"]);

    let mut waiting = world([conn(1).unaccepted()]).tracker();
    let look = |tracker: &mut crate::track::Tracker, from| {
        tracker.apply(Input::Inventory(Inventory {
            from,
            to: from + S,
            items: vec![conn(1).held_by(&[]).item],
            holders: Vec::new(),
            complete: true,
        }));
    };
    look(&mut waiting, END + S);
    assert_eq!(names(&report(&waiting).sites), ["unknown"]);
    // The next look should have found the holder.
    look(&mut waiting, END + 10 * S);
    assert_eq!(names(&report(&waiting).sites), ["fd-in-flight"]);
}

#[test]
fn a_stopped_process_cannot_close_and_that_is_only_information() {
    let stopped = |state| {
        let mut server = process(SERVER);
        server.state = state;
        world([conn(1).accepted().eof()]).with_process(server)
    };
    assert_eq!(stopped('T').verdict(), "process-stopped high info");
    assert_eq!(stopped('t').verdict(), "process-stopped high info");
    // Waiting for a disk is not being stopped.
    assert_eq!(stopped('D').verdict(), "eof-ignored high leak");
}

#[test]
fn one_running_holder_is_enough_to_close_it() {
    let mut server = process(SERVER);
    server.state = 'T';
    let world = world([conn(1).accepted().eof().held_by(&[SERVER, CHILD])])
        .with_process(server)
        .with_process(process(CHILD));
    assert_eq!(world.verdict(), "eof-ignored medium leak");
}

#[test]
fn a_stopped_process_is_no_leak_in_whatever_state_its_connections_are() {
    let mut server = process(SERVER);
    server.state = 'T';
    let site = world([conn(1).unaccepted()])
        .with_listener("0.0.0.0:8080", &[SERVER], 1)
        .with_process(server)
        .site();
    assert_eq!(site.verdict.name(), "process-stopped");
}
