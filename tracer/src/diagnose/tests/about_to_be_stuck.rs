//! Open connections that are likely to get stuck: told once it is sure, and not of whoever reads, however slowly.

use tracer_common::state::ESTABLISHED;

use super::world::*;
use crate::model::{
    input::{Connection, Endangered, Input, Moved, OpenLook, TcpFacts},
    report::{AboutToBeStuck, Danger},
    socket::Endpoints,
};

/// Its window is closed, and its program has read so many bytes.
fn full(cookie: u64, read: u64) -> Connection {
    Connection {
        cookie,
        inode: cookie + 1000,
        endpoints: Endpoints {
            local: "10.0.0.5:80".parse().unwrap(),
            remote: "10.0.0.9:5000".parse().unwrap(),
        },
        state: ESTABLISHED,
        recv_q: 4000,
        send_q: 0,
        moved: Some(Moved {
            sent: 0,
            received: 4000 + read,
            received_ago: 0,
        }),
        netns: 1,
        tcp: Some(TcpFacts {
            received_at: Some(START - 100 * S),
            receive_window: Some(0),
            ..TcpFacts::default()
        }),
    }
}

/// The other side does not answer.
fn silent(cookie: u64, probes: u8, send_q: u32) -> Connection {
    Connection {
        recv_q: 0,
        send_q,
        tcp: Some(TcpFacts {
            probes,
            receive_window: Some(65_535),
            ..TcpFacts::default()
        }),
        ..full(cookie, 0)
    }
}

fn look(at: u64, connections: &[Connection]) -> Input {
    let endangered = connections.iter().map(|connection| Endangered {
        connection: *connection,
        holders: vec![SERVER],
    });
    Input::OpenLook(OpenLook {
        at,
        endangered: endangered.collect(),
        processes: vec![process(SERVER)],
    })
}

fn told_in(live: bool, looks: Vec<Input>) -> Vec<AboutToBeStuck> {
    let mut world = world([]);
    world.run_header.live = live;
    world.inputs = looks;
    let report = world.report();
    assert!(report.sites.is_empty(), "nothing is stuck yet");
    report.about_to_be_stuck
}

fn told(looks: Vec<Input>) -> Vec<AboutToBeStuck> {
    told_in(true, looks)
}

const HALF: u64 = MIN_AGE / 2;

#[test]
fn a_closed_window_that_nobody_reads_is_told_after_the_threshold() {
    let at = |at| look(at, &[full(1, 9), full(2, 0)]);
    assert_eq!(told(vec![at(START), at(START + HALF)]), []);
    let told = told(vec![at(START), at(START + HALF), at(START + MIN_AGE)]);
    assert_eq!(told.len(), 1);
    let entry = &told[0];
    assert_eq!((entry.danger, entry.count), (Danger::WindowClosed, 2));
    assert_eq!(entry.process.as_ref().unwrap().pid, SERVER);
    assert!((entry.sockets[0].watched_seconds - 60.0).abs() < 0.001);
    assert_eq!(entry.sockets[0].last_data_seconds, Some(160.0));
    assert!(
        entry.summary.contains("8,000 bytes unread"),
        "{}",
        entry.summary
    );
}

#[test]
fn who_reads_slowly_is_not_told() {
    let slow = |at, read| look(at, &[full(1, read)]);
    let looks = vec![
        slow(START, 0),
        slow(START + HALF, 1),
        slow(START + MIN_AGE, 1),
        slow(START + MIN_AGE + HALF - 1, 1),
    ];
    assert_eq!(told(looks), []);
}

#[test]
fn what_a_look_does_not_show_is_over() {
    let full = |at| look(at, &[full(1, 0)]);
    let looks = vec![
        full(START),
        look(START + HALF, &[]),
        full(START + MIN_AGE),
        full(START + MIN_AGE + 1),
    ];
    assert_eq!(told(looks), []);
    assert_eq!(
        told(vec![full(START), full(START + MIN_AGE), look(END, &[])]),
        []
    );
}

#[test]
fn the_window_of_an_older_kernel_proves_nothing() {
    let mut unknown = full(1, 0);
    unknown.tcp.as_mut().unwrap().receive_window = None;
    let looks = [START, END].map(|at| look(at, &[unknown]));
    assert_eq!(told(looks.into()), []);
}

#[test]
fn unanswered_keepalive_is_told_and_asking_for_room_is_not() {
    let told = told(vec![look(
        START,
        &[silent(1, 3, 0), silent(2, 1, 0), silent(3, 9, 500)],
    )]);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].danger, told[0].count), (Danger::PeerSilent, 1));
    assert_eq!(told[0].sockets[0].probes, 3);
}

/// A snapshot has two looks, a moment apart: nothing came in for the threshold, and nothing was read between them.
#[test]
fn a_snapshot_needs_two_looks_and_old_data() {
    let full_at = |at| look(at, &[full(1, 0)]);
    assert_eq!(told_in(false, vec![full_at(START)]), []);
    let twice = vec![full_at(START), full_at(START + S / 4)];
    assert_eq!(told_in(false, twice)[0].count, 1);
    let mut young = full(1, 0);
    young.tcp.as_mut().unwrap().received_at = Some(START - 5 * S);
    let twice = [START, START + S / 4].map(|at| look(at, &[young]));
    assert_eq!(told_in(false, twice.into()), []);
}

#[test]
fn filters_hold_for_them() {
    for (port, count) in [(80, 1), (5000, 1), (81, 0)] {
        let mut world = world([]);
        world.inputs = vec![look(START, &[silent(1, 3, 0)])];
        world.run_header.scope.ports = vec![port];
        assert_eq!(world.report().about_to_be_stuck.len(), count, "{port}");
    }
}
