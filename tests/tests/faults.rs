//! What goes wrong around the tracer while it runs: it is stopped, killed, its disk fills up, namespaces vanish under
//! its eyes. Nothing is lost silently, and what leaks beside all that is found.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::exporter::Exporter;
use tests::report::{Report, Site};
use tests::rig::Rig;
use tests::sockleak::{self, Running};
use tests::{client, expect, manifest, skip, wait};

const RIG: &str = "c-eof-ignored";
const STOPPED: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_secs(30);

#[test]
fn a_tracer_stopped_under_churn_loses_nothing_silently() {
    if !skip::require_root("a_tracer_stopped_under_churn_loses_nothing_silently") {
        return;
    }
    let done = AtomicBool::new(false);
    let tracer = Running::watch(["--json", "--min-age", "1s"]);
    let (report, rig, churned) = thread::scope(|scope| {
        let churning = scope.spawn(|| client::churn(&done, Duration::from_micros(300)));
        let _until = wait::RaiseOnDrop(&done);
        wait::outlive_one_second();
        tracer.signal(Signal::STOP);
        let begin = Instant::now();
        // It leaks while nobody reads.
        let rig = Rig::leaking(&manifest::entry(RIG));
        thread::sleep(STOPPED.saturating_sub(begin.elapsed()));
        tracer.signal(Signal::CONT);
        thread::sleep(Duration::from_secs(3));
        let report = tracer.stop().report();
        done.store(true, Ordering::SeqCst);
        (report, rig, churning.join().expect("the churn"))
    });
    let events = &report.window.events;
    let told = events.lost > 0 && !report.warnings.is_empty();
    eprintln!(
        "stopped for {STOPPED:?}: {churned} connections came and went; {events:?}, complete: {}",
        report.window.complete
    );
    assert!(
        report.window.complete || told,
        "{events:?} {:?}",
        report.warnings
    );
    assert_eq!(events.submitted, events.received, "{:?}", report.warnings);
    expect::one_site(&report, &rig);
}

#[test]
fn a_tracer_that_was_killed_finds_the_same_sockets_again() {
    if !skip::require_root("a_tracer_that_was_killed_finds_the_same_sockets_again") {
        return;
    }
    let rig = Rig::leaking(&manifest::entry(RIG));
    let told = |exporter: &Exporter| {
        wait::poll_for(SOON, || {
            let report = Report::parse(&exporter.get("/api/report").text());
            let sites: Vec<Site> = report.on_port(rig.port).into_iter().cloned().collect();
            let all = sites.iter().map(|site| site.count).sum::<usize>() == rig.stuck;
            all.then_some(sites)
        })
        .expect("the stuck sockets are told")
    };
    let first = Exporter::start(&[]);
    let before = told(&first);
    first.running.signal(Signal::KILL);
    drop(first);
    let second = Exporter::start(&[]);
    let after = told(&second);
    let cookies = |sites: &[Site]| -> BTreeSet<String> {
        let sockets = sites.iter().flat_map(|site| &site.sockets);
        sockets.map(|socket| socket.cookie.clone()).collect()
    };
    let ids =
        |sites: &[Site]| -> Vec<String> { sites.iter().map(|site| site.id.clone()).collect() };
    let age = |sites: &[Site]| {
        sites
            .iter()
            .map(|site| site.oldest_seconds)
            .fold(0.0, f64::max)
    };
    eprintln!(
        "killed and started again: sites {:?} and {:?}, {} sockets, ages {:.1} s and {:.1} s",
        ids(&before),
        ids(&after),
        cookies(&after).len(),
        age(&before),
        age(&after)
    );
    assert_eq!(cookies(&before), cookies(&after));
    assert_eq!(ids(&before), ids(&after));
    let sockets = after.iter().flat_map(|site| &site.sockets);
    for socket in sockets {
        assert!(socket.age_is_lower_bound, "{socket:?}");
        assert!(socket.age_seconds <= rig.started.elapsed().as_secs_f64());
    }
}

#[test]
fn a_disk_that_fills_up_while_recording_is_told() {
    let name = "a_disk_that_fills_up_while_recording_is_told";
    if !skip::require_root(name) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let small = Small::mount(folder.path());
    let file = folder.path().join("recording");
    let rig = Rig::leaking(&manifest::entry(RIG));
    let finished = sockleak::run([
        "watch",
        "--json",
        "--min-age",
        "1s",
        "--duration",
        "4s",
        "--record",
        file.to_str().expect("a path"),
    ]);
    eprintln!(
        "disk full: exit code {}, {}",
        finished.code(),
        finished.stderr
    );
    assert_eq!(finished.code(), 125, "{}", finished.stderr);
    assert!(
        finished.stderr.contains("No space left"),
        "{}",
        finished.stderr
    );
    drop((small, rig));
}

/// A file system of one page.
struct Small<'f>(&'f Path);

impl<'f> Small<'f> {
    fn mount(folder: &'f Path) -> Self {
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4k", "small"])
            .arg(folder)
            .status();
        assert!(done.expect("run mount").success());
        Self(folder)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn namespaces_that_vanish_while_they_are_walked_do_no_harm() {
    if !skip::require_root("namespaces_that_vanish_while_they_are_walked_do_no_harm") {
        return;
    }
    let done = AtomicBool::new(false);
    let gone = AtomicUsize::new(0);
    let rig = Rig::leaking(&manifest::entry(RIG));
    // Only then are its sockets stuck for a snapshot.
    wait::outlive_one_second();
    let looks = thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                namespace_with_sockets();
                gone.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _until = wait::RaiseOnDrop(&done);
        let begin = Instant::now();
        let mut looks = 0;
        while begin.elapsed() < Duration::from_secs(5) || looks < 5 {
            let report = sockleak::run(["snapshot", "--json", "--min-age", "1s"]).report();
            let found: usize = report.on_port(rig.port).iter().map(|site| site.count).sum();
            assert_eq!(found, rig.stuck, "{:?}", report.warnings);
            looks += 1;
        }
        looks
    });
    eprintln!(
        "{looks} looks while {} namespaces came and went",
        gone.load(Ordering::Relaxed)
    );
}

/// Lives for a moment with a connection in it.
fn namespace_with_sockets() {
    let script = "ip link set lo up; exec python3 -c '
import socket
server = socket.create_server((\"127.0.0.1\", 0))
client = socket.create_connection(server.getsockname())
kept, _ = server.accept()
client.close()'";
    let done = Command::new("unshare")
        .args(["--net", "sh", "-ec", script])
        .status();
    assert!(done.expect("run unshare").success());
}
