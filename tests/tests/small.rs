//! A socket table of eight places, a ring of one page, and metrics with a place for one site: what does not fit is counted
//! and told, what is stuck is found all the same, and a run that lost events is called inconclusive.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tests::exporter::Exporter;
use tests::report::Report;
use tests::rig::Rig;
use tests::sockleak::{self, Running};
use tests::{client, manifest, skip, wait};

const SLOTS: (&str, &str) = ("SOCKLEAK_TABLE_SLOTS", "8");
const RING: (&str, &str) = ("SOCKLEAK_RING_BYTES", "4096");

#[test]
fn a_table_of_eight_sockets_hides_no_leak() {
    if !skip::require_root("a_table_of_eight_sockets_hides_no_leak") {
        return;
    }
    let done = AtomicBool::new(false);
    let mut command = sockleak::command(["watch", "-v", "--json", "--min-age", "1s"]);
    let tracer = Running::start(command.envs([SLOTS, RING]));
    let ready = tracer.stderr().after("bootstrap:", Duration::from_secs(30));
    assert!(ready.is_some(), "{}", tracer.streams_so_far());
    let (report, rig) = std::thread::scope(|scope| {
        scope.spawn(|| client::churn(&done, Duration::from_micros(300)));
        let _until = wait::RaiseOnDrop(&done);
        let rig = Rig::leaking(&manifest::entry("c-eof-ignored"));
        wait::outlive_one_second();
        wait::outlive_one_second();
        (tracer.stop().report(), rig)
    });
    let events = &report.window.events;
    eprintln!(
        "8 places: {events:?}, complete: {}, {:?}",
        report.window.complete, report.warnings
    );
    let told: usize = report
        .on_port(rig.port)
        .iter()
        .filter(|site| site.is_of_the_end())
        .map(|site| site.count)
        .sum();
    assert_eq!(told, rig.stuck, "{:?}", report.warnings);
    assert!(
        report.window.complete || !report.warnings.is_empty(),
        "what is missing is not told: {events:?}"
    );
}

/// All its sockets are closed by the exit alone, and of most of that nothing is heard: never a clean run.
#[test]
fn a_run_that_lost_events_is_inconclusive() {
    if !skip::require_root("a_run_that_lost_events_is_inconclusive") {
        return;
    }
    let many = "import socket\nlisten = socket.create_server(('127.0.0.1', 0))\nheld = []\n\
                for _ in range(2000):\n    \
                held.append((socket.create_connection(listen.getsockname()), listen.accept()[0]))\n\
                for client, server in held: server.close(); client.close()\n";
    let mut command =
        sockleak::command(["run", "--json", "/dev/stdout", "--", "python3", "-c", many]);
    let finished = sockleak::finish(command.envs([SLOTS, RING]), Duration::from_mins(1));
    let report = Report::parse(&finished.stdout);
    let events = &report.window.events;
    eprintln!("8 places and one page: {events:?}, {:?}", report.warnings);
    assert!(events.lost > 0, "{events:?}");
    assert!(!report.window.complete);
    finished.said(125, &["inconclusive"]);
}

/// One place for a site: the worst one has it, all others are one series, and the report has every one.
#[test]
fn room_for_one_site_counts_the_others_together() {
    if !skip::require_root("room_for_one_site_counts_the_others_together") {
        return;
    }
    let exporter = Exporter::start(&["--max-sites", "1"]);
    let rigs = ["c-eof-ignored", "c-never-read"].map(|name| {
        let entry = manifest::entry(name);
        Rig::leaking(&entry)
    });
    let all: usize = rigs.iter().map(|rig| rig.stuck).sum();
    let told = wait::poll_for(Duration::from_secs(40), || {
        let report = Report::parse(&exporter.get("/api/report").text());
        let found = |rig: &Rig| -> usize {
            let sites = report.on_port(rig.port);
            sites.iter().map(|site| site.count).sum()
        };
        (rigs.iter().map(found).sum::<usize>() >= all).then_some(report.sites.len())
    });
    let told = told.expect("a report with all sites");
    let series = exporter.metrics();
    let series: Vec<&str> = series
        .lines()
        .filter(|line| line.starts_with("sockleak_site_stuck{"))
        .collect();
    eprintln!("{told} sites in the report: {series:?}");
    assert_eq!(series.len(), 2, "{series:?}");
    let others = series.iter().filter(|line| line.contains("site=\"other\""));
    assert_eq!(others.count(), 1, "{series:?}");
    let described = exporter.metrics().matches("\nsockleak_site_info{").count();
    assert_eq!(described, 1);
}
