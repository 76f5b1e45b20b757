//! What a script learns from the exit code alone.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{manifest, skip, sockleak, wait};

/// Other programs on the machine may leak too: only the rig's port counts here.
fn snapshot(rig: &Rig, more: &[&str]) -> i32 {
    let port = rig.port.to_string();
    let args = ["snapshot", "--json", "--min-age", "1s", "--port", &port];
    sockleak::run(args.iter().chain(more)).code()
}

#[test]
fn a_leak_fails_only_who_asks() {
    if !skip::require_root("a_leak_fails_only_who_asks") {
        return;
    }
    let entry = manifest::entry("c-eof-ignored");
    let (leaking, healthy) = (Rig::leaking(&entry), Rig::healthy(&entry));
    wait::outlive_one_second();
    assert_eq!(snapshot(&leaking, &[]), 0);
    assert_eq!(snapshot(&leaking, &["--fail-on-leak"]), 23);
    assert_eq!(
        snapshot(&leaking, &["--fail-on-leak", "--error-exitcode", "7"]),
        7
    );
    assert_eq!(snapshot(&healthy, &["--fail-on-leak"]), 0);
}

#[test]
fn watch_tells_a_leak_by_its_code() {
    if !skip::require_root("watch_tells_a_leak_by_its_code") {
        return;
    }
    let entry = manifest::entry("c-lost-reference");
    for (healthy, code) in [(false, 23), (true, 0)] {
        let port = free_port().to_string();
        let args = [
            "--json",
            "--min-age",
            "1s",
            "--fail-on-leak",
            "--port",
            &port,
        ];
        let tracer = Running::watch(args);
        let port = port.parse().expect("a port");
        let how = tests::rig::Start {
            port,
            healthy,
            ..tests::rig::Start::default()
        };
        let mut rig = Rig::start(&entry, &how);
        rig.drive();
        wait::outlive_one_second();
        assert_eq!(tracer.stop().code(), code, "healthy: {healthy}");
    }
}

/// A filter by port has to be set before the rig has one.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").port()
}
