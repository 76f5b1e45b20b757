//! `hidden-closed`: ended by the kernel, never closed by the program.

use tracer_common::state::{CLOSE, CLOSE_WAIT, ESTABLISHED, LAST_ACK};

use super::world::{Conn, S, STUCK, conn, world};
use crate::model::socket::{Entry, SocketOperation};

fn hidden(old_state: u8, error: u16) -> Conn {
    let entry = Entry {
        old_state,
        error,
        shutdown: 1,
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
    assert_eq!(world([never_used]).verdict(), "hidden-closed medium leak");
}
