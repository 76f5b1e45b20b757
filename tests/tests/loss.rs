//! The books balance on a busy machine: what was submitted was received, and a report that calls
//! itself incomplete says why.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::AtomicBool;
use std::time::Duration;
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
        scope.spawn(|| client::churn(&done, Duration::from_millis(1)));
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
