//! `--evidence leaking`: reads, writes and accepts are watched once something is stuck, and what nobody watched is not
//! held against anybody.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::exporter::Exporter;
use tests::lines::Lines;
use tests::report::{Report, Site};
use tests::{bpf, skip, wait};

/// Keeps five connections whose end it has read, at each line it is given; and one in use, half closed by its peer.
const PROGRAM: &str = r"
import socket, sys, threading, time

server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(64)
kept = []

def accepted():
    client = socket.create_connection(server.getsockname())
    return client, server.accept()[0]

def keep_after_the_end(connection):
    while connection.recv(100):
        pass
    kept.append(connection)

def answer_for_ever(connection):
    while True:
        connection.send(b'more')
        time.sleep(0.1)

reader, in_use = accepted()
reader.shutdown(socket.SHUT_WR)
threading.Thread(target=answer_for_ever, args=(in_use,), daemon=True).start()
print('ready', flush=True)
for line in sys.stdin:
    for _ in range(5):
        client, connection = accepted()
        client.send(b'hello')
        client.close()
        keep_after_the_end(connection)
    print('leaked', flush=True)
    reader.recv(1 << 20)
";
const SOON: Duration = Duration::from_secs(30);
const ON_DEMAND: [&str; 2] = ["sock_recv_length", "sock_send_length"];

fn report(exporter: &Exporter) -> Report {
    Report::parse(&exporter.get("/api/report").text())
}

fn statuses(report: &Report) -> Vec<&str> {
    let hooks = report.hooks.iter();
    let hooks = hooks.filter(|hook| ON_DEMAND.contains(&hook.name.as_str()));
    hooks.map(|hook| hook.status.as_str()).collect()
}

fn links(exporter: &Exporter) -> usize {
    bpf::held_by(exporter.running.pid()).links.len()
}

#[test]
fn operations_are_watched_once_something_is_stuck() {
    if !skip::require_root("operations_are_watched_once_something_is_stuck") {
        return;
    }
    let exporter = Exporter::start(&["--evidence", "leaking", "--comm", "python3"]);
    let always = Exporter::start(&["--evidence", "always", "--comm", "python3"]);
    // What tells of accepts is attached for a moment now and then.
    wait::wait_for("fewer links on standby", SOON, || {
        links(&exporter) + 2 <= links(&always)
    });
    drop(always);

    let mut child = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start the program");
    let pid = child.id();
    let lines = Lines::of(child.stdout.take().expect("stdout"));
    lines.after("ready", SOON).expect("it starts");
    let mut leak = || {
        let input = child.stdin.as_mut().expect("stdin");
        input.write_all(b"leak\n").expect("ask for five more");
    };
    let own = |report: Report| -> Vec<Site> {
        let is_own = |site: &Site| site.process.as_ref().is_some_and(|of| of.pid == pid);
        report.sites.into_iter().filter(is_own).collect()
    };

    leak();
    wait::wait_for("what is stuck is told", SOON, || {
        own(report(&exporter))
            .iter()
            .map(|site| site.count)
            .sum::<usize>()
            == 5
    });
    let told = report(&exporter);
    assert_eq!(statuses(&told), ["attached", "attached"]);
    let since = "reads, writes and accepts are watched since";
    assert!(
        told.warnings
            .iter()
            .any(|warning| warning.starts_with(since)),
        "{:?}",
        told.warnings
    );
    // Nobody saw who read their ends.
    let sites = own(told);
    assert!(
        sites.iter().all(|site| site.confidence != "high"),
        "{sites:?}"
    );

    leak();
    wait::wait_for("those that were watched are named", SOON, || {
        let named = |site: &Site| {
            let blame = site.blame.as_ref();
            blame.is_some_and(|blame| blame.function.contains("keep_after_the_end"))
                && site.verdict == "eof-ignored"
                && site.count == 5
        };
        own(report(&exporter)).iter().any(named)
    });
    // The connection in use is none of them.
    let count: usize = own(report(&exporter)).iter().map(|site| site.count).sum();
    assert_eq!(count, 10);
    child.kill().expect("end the program");
    child.wait().expect("reap it");
}
