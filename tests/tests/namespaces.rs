//! Several network namespaces with the same addresses and ports: what tells their sockets apart is
//! the namespace, in a snapshot from outside and in events.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use tests::report::Report;
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{client, manifest, netns, process, skip, sockleak, ss, wait};

const PORT: u16 = 7070;
const ALL: [&str; 4] = ["--min-age", "1s", "--sockets-per-site", "100"];

#[test]
fn a_snapshot_tells_namespaces_apart() {
    if !skip::require_root("a_snapshot_tells_namespaces_apart") {
        return;
    }
    let rigs = two_namespaces();
    wait::outlive_one_second();
    let report = sockleak::run(["snapshot", "--json"].iter().chain(&ALL)).report();
    told_apart(&report, &rigs);
}

#[test]
fn events_tell_namespaces_apart() {
    if !skip::require_root("events_tell_namespaces_apart") {
        return;
    }
    let tracer = Running::watch(["--json"].iter().chain(&ALL));
    let rigs = two_namespaces();
    wait::outlive_one_second();
    told_apart(&tracer.stop().report(), &rigs);
}

/// Two rigs on the same port, each alone in a namespace, both with their sockets stuck.
fn two_namespaces() -> [Rig; 2] {
    let entry = manifest::entry("c-lost-reference");
    let how = Start {
        port: PORT,
        prefix: netns::FRESH,
        ..Start::default()
    };
    [(); 2].map(|()| {
        let rig = Rig::start(&entry, &how);
        netns::inside(rig.pid(), || {
            client::visit(rig.address(), entry.count, entry.client)
        });
        rig.wait_until_stuck();
        rig
    })
}

fn told_apart(report: &Report, rigs: &[Rig]) {
    for rig in rigs {
        let namespace = process::netns(rig.pid());
        let sockets = report
            .on_port(PORT)
            .into_iter()
            .flat_map(|site| &site.sockets);
        let inside: Vec<_> = sockets.filter(|socket| socket.netns == namespace).collect();
        assert_eq!(inside.len(), rig.stuck, "{report:#?}");
        for socket in inside {
            let holders: Vec<_> = socket.fds.iter().map(|fd| fd.pid).collect();
            assert_eq!(holders, [rig.pid()], "{socket:?}");
        }
        let seen = netns::inside(rig.pid(), || ss::close_wait(PORT));
        assert_eq!(seen.len(), rig.stuck, "ss inside the namespace agrees");
    }
}
