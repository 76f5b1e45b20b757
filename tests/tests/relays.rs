//! A real proxy that has passed on its client's end and waits for a backend which does not close:
//! the backend leaks, and the proxy only shows it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use tests::client::{self, Manner};
use tests::haproxy::Haproxy;
use tests::rig::{Rig, Start};
use tests::sockleak::Running;
use tests::{expect, manifest, skip, ss, wait};

#[test]
fn a_proxy_that_waits_for_its_backend_is_not_blamed() {
    let test = "a_proxy_that_waits_for_its_backend_is_not_blamed";
    let entry = manifest::entry("haproxy-eof-ignored");
    if !skip::require_root(test) || !skip::require_needs(test, &entry) {
        return;
    }
    tests::compile::command(&entry);
    let tracer = Running::watch(["--json", "--min-age", "1s", "--duration", "60s"]);
    let rig = Rig::start(&entry, &Start::default());
    let haproxy = Haproxy::before(rig.address());
    client::visit(haproxy.address, entry.count, Manner::ReplyThenClose);
    rig.wait_until_stuck();
    let front = haproxy.address.port();
    assert_eq!(ss::close_wait(front).len(), entry.count, "towards clients");
    wait::outlive_one_second();
    let report = tracer.stop().report();
    let backend = expect::one_site(&report, &rig);
    expect::blamed(backend, &rig);
    let given: Vec<_> = report
        .on_port(front)
        .iter()
        .map(|site| (site.verdict.as_str(), site.count))
        .collect();
    assert_eq!(given, [("unknown", entry.count)], "of the proxy");
}
