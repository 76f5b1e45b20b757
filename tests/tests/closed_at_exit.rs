//! A process that leaks and exits while it is watched: its sockets are gone, and the report says so.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, skip, wait};

#[test]
fn what_only_the_exit_closed_is_told_and_blamed() {
    if !skip::require_root("what_only_the_exit_closed_is_told_and_blamed") {
        return;
    }
    let entry = manifest::entry("c-eof-ignored");
    tests::compile::command(&entry);
    let tracer = Running::watch(["--json", "--min-age", "1s", "--duration", "60s"]);
    let rig = Rig::leaking(&entry);
    let twin = Rig::healthy(&entry);
    let told = format!("c-eof-ignored[{}]", rig.pid());
    wait::wait_for("the live line", Duration::from_secs(20), || {
        let lines = tracer.stderr().so_far();
        lines.iter().any(|line| line.contains(&told))
    });
    let (port, of_twin, count) = (rig.port, twin.port, rig.stuck);
    drop((rig, twin));
    std::thread::sleep(Duration::from_millis(500));
    let report = tracer.stop().report();
    let [site] = report.on_port(port)[..] else {
        panic!("one site, not {:?}", report.sites);
    };
    assert_eq!(
        (site.verdict.as_str(), site.count),
        ("closed-at-exit", count)
    );
    let blame = site.blame.as_ref().expect("a blamed function");
    assert_eq!(blame.function, "handle_client_and_forget");
    assert!(report.on_port(of_twin).is_empty());
}
