//! What looks like a leak and is none: young sockets, and connections that are half closed and busy.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::rig::Rig;
use tests::sockleak::Running;
use tests::{client, manifest, skip, sockleak, ss, wait};

/// The default threshold is a minute: seconds in `CLOSE_WAIT` are everyday life.
#[test]
fn young_sockets_are_counted_and_not_accused() {
    if !skip::require_root("young_sockets_are_counted_and_not_accused") {
        return;
    }
    let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
    let report = sockleak::run(["snapshot", "--json"]).report();
    assert!(report.on_port(rig.port).is_empty(), "{:#?}", report.sites);
    assert!(
        report.totals.close_wait >= rig.stuck as u64,
        "{:?}",
        report.totals
    );
}

/// The client has said its last word and listens; the server goes on answering for seconds.
#[test]
fn a_half_closed_connection_in_use_is_no_leak() {
    if !skip::require_root("a_half_closed_connection_in_use_is_no_leak") {
        return;
    }
    let args = ["--json", "--min-age", "1s", "--duration", "60s"];
    let tracer = Running::watch(args);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    let client = client::connect(address);
    let (mut server, _) = listener.accept().expect("accept");
    client.shutdown(Shutdown::Write).expect("half close");
    let done = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                server.write_all(b"more\n").expect("send");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _until = wait::RaiseOnDrop(&done);
        let arrived = || ss::close_wait(address.port()).len() == 1;
        wait::wait_for("the FIN to arrive", Duration::from_secs(5), arrived);
        wait::outlive_one_second();
        wait::outlive_one_second();
        tracer.stop().report()
    });
    assert!(
        report.on_port(address.port()).is_empty(),
        "{:#?}",
        report.sites
    );
    drop(client);
}

/// Closed late is closed: what was stuck for a while and is gone is over.
#[test]
fn what_was_closed_in_the_end_is_over() {
    if !skip::require_root("what_was_closed_in_the_end_is_over") {
        return;
    }
    let args = ["--json", "--min-age", "1s", "--duration", "60s"];
    let tracer = Running::watch(args);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    drop(client::connect(address));
    let (server, _) = listener.accept().expect("accept");
    wait::outlive_one_second();
    wait::outlive_one_second();
    drop(server);
    let report = tracer.stop().report();
    // It was told of, so it stays in the report: as over, and not among what is stuck.
    let told = report.on_port(address.port());
    assert!(
        told.iter().all(|site| site.over.is_some()),
        "{:#?}",
        report.sites
    );
}
