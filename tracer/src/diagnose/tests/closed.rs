//! Ended by the kernel and never closed by the program (`hidden-closed`), or by its exit alone.

use tracer_common::state::{CLOSE, CLOSE_WAIT, ESTABLISHED, LAST_ACK};

use super::told::{inventory, report, transition};
use super::world::{Conn, END, S, SERVER, STUCK, conn, frame, process, thread, world};
use crate::diagnose::Ledger;
use crate::model::input::{Input, Thread, Transition};
use crate::model::socket::{Entry, SocketOperation};
use crate::model::wait::{FileKind, Target, Wait};

fn hidden(old_state: u8, error: u16) -> Conn {
    let entry = Entry {
        old_state,
        error,
        shutdown: 1,
        only_fin_unread: false,
    };
    conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S)
        .state(CLOSE, entry)
}

#[test]
fn hidden_closed_is_proven_by_a_descriptor_on_a_dead_connection() {
    let report = world([hidden(ESTABLISHED, 104)]).report();
    assert_eq!((report.totals.hidden, report.totals.close_wait), (1, 0));
    let site = &report.sites[0];
    assert_eq!(site.verdict.name(), "hidden-closed");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.severity.name(), "leak");
    assert_eq!(site.blame.as_ref().unwrap().function.raw(), "handle");
}

#[test]
fn what_ended_it_is_told_only_where_it_is_known() {
    let cause = |old_state, error| {
        let site = world([hidden(old_state, error)]).site();
        site.evidence
            .into_iter()
            .find(|line| line.contains("ended by"))
    };
    assert!(
        cause(ESTABLISHED, 104)
            .unwrap()
            .contains("reset (RST) from the peer")
    );
    assert!(cause(CLOSE_WAIT, 32).unwrap().contains("late write"));
    assert!(cause(ESTABLISHED, 110).unwrap().contains("timeout"));
    assert!(cause(LAST_ACK, 0).unwrap().contains("shutdown()"));
    assert_eq!(cause(ESTABLISHED, 0), None);
}

#[test]
fn hidden_closed_needs_a_holder() {
    let report = world([hidden(ESTABLISHED, 104).held_by(&[])]).report();
    assert_eq!(report.totals.stuck, 0);
}

#[test]
fn hidden_closed_of_an_unused_socket_is_less_sure() {
    let entry = hidden(ESTABLISHED, 104).candidate.entry;
    let never_used = conn(1).state(CLOSE, entry);
    assert_eq!(world([never_used]).verdict(), "hidden-closed low leak");
}

/// As one that forwards connections keeps them until the other side has ended.
#[test]
fn hidden_closed_is_less_sure_where_an_event_loop_may_end_it_later() {
    let verdict = |wait: Wait, kind| {
        let entry = hidden(ESTABLISHED, 104).candidate.entry;
        let conn = conn(1).accepted().used(kind, STUCK - S).state(CLOSE, entry);
        let waits = Thread {
            wait,
            ..thread(SERVER, "epoll_wait", vec![frame("main", 9)])
        };
        let world = world([conn]).with_threads(SERVER, vec![waits]);
        world.verdict()
    };
    let set = || Wait::Epoll { set: 7 };
    let (answered, asked) = (SocketOperation::Send, SocketOperation::Recv);
    assert_eq!(verdict(set(), answered), "hidden-closed medium leak");
    assert_eq!(verdict(set(), asked), "hidden-closed low leak");
    let target = Target {
        fd: 3,
        file: FileKind::Unknown,
    };
    let accepts = || Wait::Accept(target);
    assert_eq!(verdict(accepts(), asked), "hidden-closed high leak");
}

/// What an exit closed: told as what it was until then.
fn closed_by_an_exit(conns: Vec<Conn>) -> (String, String) {
    let exit = |it: &Conn| {
        let hidden = it.item.state == CLOSE;
        Transition {
            old: it.item.state,
            new: if hidden { CLOSE } else { LAST_ACK },
            dead: hidden,
            ..transition(it, END + S, true)
        }
    };
    let exits: Vec<Transition> = conns.iter().map(exit).collect();
    let world = world(conns).with_process(process(SERVER));
    let mut tracker = world.tracker();
    for exit in exits {
        tracker.apply(Input::Transition(exit));
    }
    tracker.apply(inventory(END + 2 * S, vec![]));
    let site = report(&mut Ledger::default(), &tracker).sites.remove(0);
    assert_eq!(site.verdict.name(), "closed-at-exit");
    (site.summary, site.evidence.join("; "))
}

#[test]
fn what_a_reset_had_ended_did_not_stay_in_close_wait() {
    let stuck = || conn(2).accepted().used(SocketOperation::Recv, STUCK - S);
    let reset = || hidden(ESTABLISHED, 104);
    let (text, evidence) = closed_by_an_exit(vec![stuck()]);
    assert!(text.contains(" stayed in CLOSE_WAIT until "), "{text}");
    assert!(evidence.starts_with("the exit ended it"));
    let (text, evidence) = closed_by_an_exit(vec![reset()]);
    assert!(text.contains(" stayed open, ended by the kernel, until "));
    assert!(evidence.starts_with("1 of 1 had been ended by the kernel before"));
    let (text, evidence) = closed_by_an_exit(vec![reset(), stuck()]);
    assert!(text.contains(" in CLOSE_WAIT, or open and ended by the kernel, until "));
    assert!(evidence.starts_with("the exit ended the rest"));
}
