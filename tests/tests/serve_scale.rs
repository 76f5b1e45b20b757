//! What a scrape costs when very many sockets are stuck at some places: by the number of places, not of sockets.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;
use tests::exporter::{Exporter, sum};
use tests::{compile, http, skip, wait};

/// Five processes: none may have more than 20,000 files here.
const PROCESSES: usize = 5;
const EACH: usize = 16_000;
const PLACES: usize = 20;
const OPENMETRICS: &str = "Accept: application/openmetrics-text; version=1.0.0";
const PROTOBUF: &str = "Accept: application/vnd.google.protobuf; \
                        proto=io.prometheus.client.MetricFamily; encoding=delimited";
const TEXT: &str = "Accept: text/plain";
/// Of the process that answers, for one scrape that encodes and one that need not.
const MOST: Duration = Duration::from_millis(5);
const SCRAPES: usize = 15;
const PATIENCE: Duration = Duration::from_mins(2);

#[test]
fn a_scrape_of_eighty_thousand_stuck_sockets_is_cheap() {
    let name = "a_scrape_of_eighty_thousand_stuck_sockets_is_cheap";
    if !skip::require_root(name) || !skip::require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let leaker = compiled(folder.path());
    let exporter = Exporter::start(&[]);
    let leaker = Leaker::start(&leaker);
    let all = (PROCESSES * EACH) as f64;
    let deadline = std::time::Instant::now() + PATIENCE;
    let metrics = loop {
        let metrics = exporter.metrics();
        let stuck = sum(&metrics, "sockleak_site_stuck", &[]).unwrap_or(0.0);
        let named = metrics
            .lines()
            .filter(|line| line.starts_with("sockleak_site_info{"))
            .filter(|line| line.contains("keep_"))
            .count();
        if stuck >= all && named >= PLACES {
            break metrics;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "{stuck} stuck, {named} sites named:\n{metrics}"
        );
        sleep(Duration::from_millis(500));
    };
    let answerer = exporter.answerer();
    let encoded = encoding(&exporter, answerer);
    let mut again: Vec<Duration> = (0..SCRAPES)
        .map(|_| cost(&exporter, answerer, TEXT))
        .collect();
    again.sort();
    let again = *again.get(SCRAPES / 2).expect("a median");
    let inspection = sum(&metrics, "sockleak_inspection_seconds", &[]).unwrap_or(0.0);
    let sites = metrics
        .lines()
        .filter(|line| line.starts_with("sockleak_site_info{"))
        .count();
    eprintln!(
        "{all} stuck sockets in {sites} sites, {} bytes of text: CPU of a scrape {encoded:?} where it encodes (OpenMetrics, \
         protobuf), {again:?} where it need not (text); an inspection takes {inspection:.3} s",
        metrics.len()
    );
    for one in encoded.into_iter().chain([again]) {
        assert!(one <= MOST, "{one:?}");
    }
    drop(leaker);
}

/// Nobody has asked for these two forms since the inspection: they have to be encoded. A report that arrives in the
/// same moment costs more than the scrape does; then the next inspection tells.
fn encoding(exporter: &Exporter, answerer: u32) -> [Duration; 2] {
    let inspections = || exporter.metric("sockleak_inspections_total", &["done"]);
    let mut costs = [MOST; 2];
    for _ in 0..3 {
        let inspected = inspections();
        costs = [OPENMETRICS, PROTOBUF].map(|form| cost(exporter, answerer, form));
        if costs.iter().all(|cost| *cost <= MOST) {
            break;
        }
        wait::wait_for("another inspection", PATIENCE, || inspections() > inspected);
    }
    costs
}

/// Of the process that answers, for one scrape in a form that is asked for in this way.
fn cost(exporter: &Exporter, answerer: u32, accept: &str) -> Duration {
    let before = cpu(answerer);
    let answer = http::get(&exporter.address, "/metrics", &[accept]);
    let after = cpu(answerer);
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() > 1000);
    after.saturating_sub(before)
}

/// Of all its threads, to the nanosecond (`Documentation/scheduler/sched-stats.rst`).
fn cpu(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

struct Leaker(Child);

impl Leaker {
    /// Comes back when all is stuck.
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .args([PROCESSES.to_string(), EACH.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the program that leaks");
        let says = BufReader::new(child.stdout.take().expect("hear it"));
        let leaker = Self(child);
        let stuck = says.lines().map_while(Result::ok).take(PROCESSES);
        assert_eq!(stuck.filter(|line| line == "stuck").count(), PROCESSES);
        leaker
    }
}

impl Drop for Leaker {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn compiled(folder: &Path) -> std::path::PathBuf {
    let list = |of: fn(usize) -> String| (0..PLACES).map(of).collect::<Vec<_>>();
    let places = list(|number| format!("PLACE({number})")).join("\n");
    let table = list(|number| format!("keep_{number}")).join(", ");
    let text = SOURCE
        .replace("@PLACES@", &places)
        .replace("@TABLE@", &table);
    compile::c(folder, "many", &text, &[])
}

/// Reads the end of each connection at one of the places and keeps it.
const SOURCE: &str = r#"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) { perror(what); exit(1); }

#define PLACE(n) __attribute__((noinline)) static void keep_##n(int fd) { \
    char byte; \
    while (read(fd, &byte, 1) > 0) { } \
    __asm__ volatile("" ::: "memory"); \
}
@PLACES@
static void (*const places[])(int) = { @TABLE@ };
enum { COUNT = sizeof places / sizeof *places };

static void clients(struct sockaddr_in server, int count) {
    for (int i = 0; i < count; i++) {
        struct sockaddr_in own = { .sin_family = AF_INET };
        own.sin_addr.s_addr = htonl(0x7f000100u + 1 + i % 100);
        int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
        if (fd < 0) fail("socket");
        /* A port is chosen at connect, by the whole quadruple. */
        setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &yes, sizeof yes);
        if (bind(fd, (struct sockaddr *)&own, sizeof own)) fail("bind");
        if (connect(fd, (struct sockaddr *)&server, sizeof server)) fail("connect");
        if (write(fd, "x", 1) != 1) fail("write");
        close(fd);
    }
    exit(0);
}

static void server(int count) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    if (!fork()) { prctl(PR_SET_PDEATHSIG, SIGKILL); close(listener); clients(address, count); }
    for (int i = 0; i < count; i++) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        places[i % COUNT](fd);
    }
    puts("stuck");
    fflush(stdout);
    for (;;) pause();
}

int main(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < atoi(argv[1]); i++)
        if (!fork()) { prctl(PR_SET_PDEATHSIG, SIGKILL); server(atoi(argv[2])); }
    char byte;
    while (read(0, &byte, 1) > 0) { }
    return 0;
}
"#;
