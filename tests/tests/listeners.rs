//! Listeners of connections of Node.js, in every release at hand: two functions that one event loop calls are two findings.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::lines::Lines;
use tests::report::Report;
use tests::sockleak::Running;
use tests::{installed, paths, skip, sockleak, wait};

const PATIENCE: Duration = Duration::from_secs(20);
const COUNT: usize = 5;
/// Name and line, as the rig has them.
const EXPECTED: [(&str, u32); 2] = [("read", 14), ("readOrders", 9)];

/// Connects and leaves; the rig reads the end of each.
fn leak(port: u16) {
    for _ in 0..2 * COUNT {
        let mut peer = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        peer.write_all(b"x").expect("send");
        peer.shutdown(std::net::Shutdown::Write).expect("shut down");
        // One of the two answers; both stay.
        peer.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a time limit");
        let _ = peer.read(&mut [0; 8]);
    }
}

fn blamed(report: &Report, pid: u32) -> Vec<(String, u32, usize)> {
    let sites = report.sites.iter();
    let of_rig = sites.filter(|site| site.process.as_ref().is_some_and(|of| of.pid == pid));
    let mut found: Vec<_> = of_rig
        .map(|site| {
            assert_eq!(site.verdict, "eof-ignored", "{site:#?}");
            // That `end` is heard leaves open what should close it.
            assert_ne!(site.confidence, "high", "{site:#?}");
            let listeners = site.listeners.as_ref().expect("its listeners");
            assert_eq!(listeners.blamed.as_deref(), Some("data"), "{site:#?}");
            assert_eq!(listeners.allow_half_open, Some(true), "{site:#?}");
            assert_eq!(listeners.end_is_heard, Some(true), "{site:#?}");
            let server = listeners.events.iter().find(|one| one.of == "server");
            let server = server.expect("who accepts");
            assert_eq!(
                (server.event.as_str(), server.functions[0].function.as_str()),
                ("connection", "accepted")
            );
            let blame = site.blame.as_ref().expect("somebody to blame");
            let file = blame.file.as_deref().unwrap_or_default();
            assert!(file.ends_with("/one_listener_each.js"), "{file}");
            (
                blame.function.clone(),
                blame.line.unwrap_or_default(),
                site.count,
            )
        })
        .collect();
    found.sort();
    found
}

fn try_out(node: &Path) {
    let watch = Running::watch(["--json", "--min-age", "500ms"]);
    let mut child = Command::new(node)
        .arg(paths::tests_dir().join("rigs/node/one_listener_each.js"))
        .arg(COUNT.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the rig");
    let lines = Lines::of(child.stdout.take().expect("stdout"));
    wait::wait_for("a port", PATIENCE, || !lines.so_far().is_empty());
    let port = lines.so_far()[0].trim().parse().expect("a port");
    leak(port);
    wait::wait_for("ends read", PATIENCE, || lines.so_far().len() == 2);
    wait::outlive_one_second();
    let watched = watch.stop().report();
    // Nobody saw those; the objects are there all the same.
    let pid = child.id();
    let later = ["snapshot", "--json", "--min-age", "500ms", "--pid"].map(str::to_owned);
    let later = sockleak::run(later.into_iter().chain([pid.to_string()])).report();
    let _ = child.kill();
    let _ = child.wait();
    let expected = EXPECTED.map(|(name, line)| (name.to_owned(), line, COUNT));
    for report in [watched, later] {
        let found = blamed(&report, pid);
        assert_eq!(found, expected, "{}: {:#?}", node.display(), report.sites);
    }
}

#[test]
fn two_listeners_of_one_server_are_two_findings() {
    let name = "two_listeners_of_one_server_are_two_findings";
    if !skip::require_root(name) || !skip::require_program(name, "node") {
        return;
    }
    for node in installed::nodes() {
        println!("{}", node.display());
        try_out(&node);
    }
}
