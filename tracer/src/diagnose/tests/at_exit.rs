//! What the exit of a process closes, and what of that the program could have closed itself.
use super::told::{inventory, report, transition};
use super::world::{Conn, END, S, SERVER, STUCK, World, conn, process, world};
use crate::diagnose::Ledger;
use crate::model::input::{Input, Task, Transition};
use crate::model::report::Site;
use crate::model::socket::SocketOperation;

const MS: u64 = 1_000_000;
const CHILD: u32 = 101;

/// As `run --exit-age 0s` sees it.
fn strict(conn: Conn) -> World {
    let mut world = world([conn])
        .with_process(process(SERVER))
        .with_process(process(CHILD));
    world.run_header.exit_age_ns = Some(0);
    world
}

fn ended(world: World, change: Transition) -> Vec<Site> {
    let mut tracker = world.tracker();
    let at = change.at;
    tracker.apply(Input::Transition(change));
    tracker.apply(inventory(at + S, vec![]));
    report(&mut Ledger::default(), &tracker).sites
}

/// The exit of this process, so long after the peer has left.
fn exit(conn: &Conn, pid: u32, killed: bool, age: u64) -> Transition {
    let change = transition(conn, conn.candidate.since + age, true);
    let task = Task {
        pid,
        killed,
        ..change.task.clone().unwrap()
    };
    Transition {
        task: Some(task),
        ..change
    }
}

fn verdicts(sites: &[Site]) -> Vec<&str> {
    sites.iter().map(|site| site.verdict.name()).collect()
}

fn unread(since: u64) -> Conn {
    conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S)
        .since(since)
}

#[test]
fn a_program_that_a_signal_ends_at_once_had_no_time_to_close() {
    let told = |conn: &Conn, killed, age| {
        let sites = ended(strict(conn.clone()), exit(conn, SERVER, killed, age));
        verdicts(&sites).len()
    };
    let just_left = unread(END - MS);
    assert_eq!(told(&just_left, true, MS), 0);
    assert_eq!(told(&just_left, true, 60 * MS), 1, "time enough");
    assert_eq!(told(&just_left, false, MS), 1, "it ended by itself");
    let read = conn(1).accepted().eof().since(END - MS);
    assert_eq!(told(&read, true, MS), 1, "the end was read");
}

#[test]
fn what_waits_in_the_accept_queue_is_closed_with_the_listener() {
    let waiting = conn(1).unaccepted();
    let told = |age| {
        let change = Transition {
            has_socket: false,
            ..exit(&waiting, SERVER, true, age)
        };
        ended(strict(waiting.clone()), change)
    };
    assert_eq!(verdicts(&told(10 * S)).len(), 0);
    let sites = told(70 * S);
    assert_eq!(verdicts(&sites), ["closed-at-exit"]);
    assert!(
        sites[0].summary.contains("accept queue"),
        "{}",
        sites[0].summary
    );
}

#[test]
fn the_exit_of_a_process_with_a_copy_closes_what_others_have_closed() {
    let copied = conn(1).accepted().eof().held_by(&[CHILD]);
    let told = |age| ended(strict(copied.clone()), exit(&copied, CHILD, false, age));
    assert_eq!(verdicts(&told(S)).len(), 0);
    let sites = told(70 * S);
    assert_eq!(verdicts(&sites), ["closed-at-exit"]);
    assert!(sites[0].blame.is_none());
    assert!(
        sites[0].summary.contains("had only a copy"),
        "{}",
        sites[0].summary
    );
}
