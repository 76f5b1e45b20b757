//! The books balance on a busy machine: what was submitted was received, and a report that calls
//! itself incomplete says why.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::sockleak::Running;
use tests::{client, skip, wait};

/// Connections come and go all the time, also while the tracer writes its report.
#[test]
fn traffic_at_the_end_is_no_loss() {
    if !skip::require_root("traffic_at_the_end_is_no_loss") {
        return;
    }
    let done = AtomicBool::new(false);
    let tracer = Running::watch(["--json", "--min-age", "1s"]);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| churn(&done));
        let _until = wait::RaiseOnDrop(&done);
        wait::outlive_one_second();
        wait::outlive_one_second();
        tracer.stop().report()
    });
    let events = &report.window.events;
    let warnings = &report.warnings;
    assert!(events.received > 0, "traffic makes events: {events:?}");
    assert_eq!(events.submitted, events.received, "{warnings:?}");
    let explained = events.lost > 0 && !warnings.is_empty();
    assert!(
        report.window.complete || explained,
        "{events:?} {warnings:?}"
    );
}

/// Each connection spends a good second in `CLOSE_WAIT`: long enough to be followed.
fn churn(done: &AtomicBool) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    let mut held = VecDeque::new();
    while !done.load(Ordering::SeqCst) {
        drop(client::connect(address));
        held.push_back((Instant::now(), listener.accept().expect("accept")));
        while held
            .front()
            .is_some_and(|(since, _)| since.elapsed() > Duration::from_millis(1100))
        {
            held.pop_front();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
