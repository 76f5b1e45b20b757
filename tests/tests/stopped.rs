//! A stopped process is no leak: it is reported as stopped, and is gone once it goes on.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::Signal;
use std::io::{Read, Write};
use std::time::Duration;
use tests::rig::{Rig, Start};
use tests::{client, manifest, skip, sockleak, ss, wait};

const SNAPSHOT: [&str; 4] = ["snapshot", "--json", "--min-age", "1s"];
const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_stopped_process_is_named_as_such() {
    if !skip::require_root("a_stopped_process_is_named_as_such") {
        return;
    }
    let how = Start {
        healthy: true,
        ..Start::default()
    };
    let rig = Rig::start(&manifest::entry("c-event-lost-one-shot"), &how);
    let ask = |_| {
        let mut stream = client::connect(rig.address());
        stream.write_all(b"ask\r\n\r\n").expect("send");
        assert!(stream.read(&mut [0; 256]).expect("receive") > 0);
        stream
    };
    let clients: Vec<_> = (0..3).map(ask).collect();
    rig.signal(Signal::STOP);
    drop(clients);
    wait::wait_for("the FINs to arrive", LIMIT, || {
        ss::close_wait(rig.port).len() == 3
    });
    wait::outlive_one_second();

    let report = sockleak::run(SNAPSHOT).report();
    let sites = report.on_port(rig.port);
    assert_eq!(sites.len(), 1, "{sites:#?}");
    assert_eq!(
        (sites[0].verdict.as_str(), sites[0].count),
        ("process-stopped", 3),
        "{sites:#?}"
    );
    assert_ne!(sites[0].severity, "leak", "{sites:#?}");

    rig.signal(Signal::CONT);
    wait::wait_for("the rig to close", LIMIT, || {
        ss::close_wait(rig.port).is_empty()
    });
    let report = sockleak::run(SNAPSHOT).report();
    assert!(report.on_port(rig.port).is_empty(), "{:#?}", report.sites);
}
