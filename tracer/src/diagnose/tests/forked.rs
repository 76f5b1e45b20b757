//! A process for each connection: who holds it was started to serve it, and may not have come to that.

use jiff::{SignedDuration, Timestamp};

use super::world::{Conn, S, STUCK, World, conn, frame, libc, names, process, thread, world};
use crate::model::{input::Thread, socket::SocketOperation, wait::Wait};

const FIRST: u32 = 900;
const MS: u64 = 1_000_000;

fn accepted(nth: u32) -> u64 {
    STUCK - 5 * S + u64::from(nth) * 100 * MS
}

/// Accepted by the server, which has closed its own descriptor, and held by another process.
fn given(nth: u32, holder: u32) -> Conn {
    let mut conn = conn(u64::from(nth) + 1)
        .accepted()
        .recv_q(30)
        .held_by(&[holder]);
    conn.candidate.history.opened.as_mut().unwrap().at = accepted(nth);
    conn
}

fn with_child(world: World, pid: u32, began: u64, thread: Thread) -> World {
    let mut child = process(pid);
    // The world's clock of events begins at 1000 s, its wall clock at 1,000,000 s.
    let began = SignedDuration::from_nanos(began as i64 - 1000 * S as i64);
    child.start_wall = Some(Timestamp::from_second(1_000_000).unwrap() + began);
    world
        .with_process(child)
        .with_threads(pid, vec![thread])
        .with_epoll(pid, &[])
}

fn waiting(pid: u32, wait: Wait) -> Thread {
    Thread {
        wait,
        ..thread(
            pid,
            "futex",
            vec![libc("wait"), frame("wait_for_turn", 50), frame("child", 51)],
        )
    }
}

/// Five connections, a child for each.
fn each_its_child(wait: &Wait, late: u64) -> World {
    let conns = (0..5).map(|nth| given(nth, FIRST + nth));
    (0..5).fold(world(conns), |world, nth| {
        let pid = FIRST + nth;
        with_child(world, pid, accepted(nth) + late, waiting(pid, wait.clone()))
    })
}

#[test]
fn a_child_for_each_connection_that_has_not_read_serves_it() {
    for wait in [Wait::Futex { address: 8 }, Wait::Sleep] {
        let site = each_its_child(&wait, 3 * MS).site();
        let confidence = site.confidence.name();
        assert_eq!(
            (site.verdict.name(), confidence),
            ("owner-blocked", "medium")
        );
        assert_eq!(site.count, 5);
        assert_eq!(site.blame.as_ref().unwrap().function.raw(), "wait_for_turn");
        assert_eq!(site.process.as_ref().unwrap().pid, FIRST);
        let evidence = site.evidence.join("; ");
        assert!(evidence.contains("started right after"), "{evidence}");
    }
    let verdict = |wait| each_its_child(&wait, 3 * MS).verdict();
    assert_eq!(verdict(Wait::Other), "owner-blocked low leak");
    // What it does is not known: then that it was forgotten is not, either.
    assert_eq!(verdict(Wait::Running), "never-read low leak");
}

/// Of a shell that waits for what it runs, that one is the one.
#[test]
fn of_a_chain_of_processes_the_one_that_the_others_wait_for_serves_it() {
    let world = world([given(0, FIRST).held_by(&[FIRST, FIRST + 1])]);
    let world = with_child(world, FIRST, accepted(0), waiting(FIRST, Wait::Child));
    let run = thread(FIRST + 1, "flock", vec![libc("flock"), frame("lock", 60)]);
    let run = Thread {
        wait: Wait::Sleep,
        ..run
    };
    let site = with_child(world, FIRST + 1, accepted(0) + 2 * S, run).site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.blame.unwrap().function.raw(), "lock");
}

/// Who began later, or holds several, need not be there for any of them; nor is it known to be there for something else.
#[test]
fn what_nobody_has_used_is_inherited_with_low_confidence_at_most() {
    let wait = Wait::Futex { address: 8 };
    let late = each_its_child(&wait, 700 * MS).report();
    assert_eq!(late.sites[0].confidence.name(), "low");
    assert_eq!(names(&late.sites), ["inherited-fd"]);
    let several = world((0..5).map(|nth| given(nth, FIRST)));
    let several = with_child(several, FIRST, accepted(4), waiting(FIRST, wait.clone()));
    assert_eq!(several.verdict(), "inherited-fd low leak");
    // Once its acceptor has used it, a copy is a copy.
    let mut used = given(0, FIRST).used(SocketOperation::Recv, STUCK - S);
    used.item.recv_q = 1;
    let used = with_child(world([used]), FIRST, accepted(0), waiting(FIRST, wait));
    assert_eq!(used.verdict(), "inherited-fd high leak");
}
