//! One program floods the tracer with more than its ring has room for: what is lost is counted and told, the iterators put
//! right what was missed, and what leaks in other programs, before the flood and in the middle of it, keeps its names.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::keeper::{self, Keeper};
use tests::lines::Lines;
use tests::report::Report;
use tests::sockleak::{self, Running};
use tests::{compile, skip, wait};

/// A 64th of what it is: the flood need not be so large that the machine has no time for the rest.
const RING: (&str, &str) = ("SOCKLEAK_RING_BYTES", "65536");
const BEFORE: &str = "leaks_before_the_flood";
const AMONG: &str = "leaks_in_the_flood";
const SOCKETS: usize = 30;
/// Sockets that all leave `CLOSE_WAIT` at once, after the grace period: each leaves two events of some 200 bytes.
const AT_ONCE: usize = 3000;
const WAVES: usize = 3;
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_flood_by_one_program_does_not_hide_what_others_leak() {
    let name = "a_flood_by_one_program_does_not_hide_what_others_leak";
    if !skip::require_root(name) || !skip::require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let flood = compile::c(folder.path(), "flood", SOURCE, &[]);
    let [before, among] = [BEFORE, AMONG].map(|keep| keeper::compiled(folder.path(), keep, 0));
    let mut command = sockleak::command(["watch", "-v", "--json", "--min-age", "1s"]);
    command.args(["--sockets-per-site", "100000"]);
    let tracer = Running::start(command.envs([RING]));
    let ready = tracer.stderr().after("bootstrap:", Duration::from_secs(30));
    assert!(ready.is_some(), "{}", tracer.streams_so_far());
    let before = Keeper::start(&before, SOCKETS, &[]);
    before.port();
    wait::outlive_one_second();
    let flood = Flood::start(&flood);
    let port = flood.said("listens ");
    flood.said("wave 1");
    let among = Keeper::start(&among, SOCKETS, &[]);
    among.port();
    flood.said("over");
    wait::outlive_one_second();
    wait::outlive_one_second();
    let finished = tracer.stop();
    finished.said(0, &[]);
    let report = finished.report();
    let events = &report.window.events;
    let left: usize = report
        .on_port(port.parse().expect("a port"))
        .iter()
        .filter(|site| site.over.is_none())
        .map(|site| site.count)
        .sum();
    eprintln!(
        "{WAVES} waves of {AT_ONCE} sockets: {events:?}, complete: {}, {left} of theirs told as stuck, {:?}",
        report.window.complete, report.warnings
    );
    assert!(events.lost > 0, "no flood: {events:?}");
    let told = |warning: &String| warning.contains("lost because the ring was full");
    assert!(report.warnings.iter().any(told), "{:?}", report.warnings);
    // All of them are closed: what the ring lost, the iterators have seen.
    assert_eq!(left, 0, "{:?}", report.warnings);
    for (keep, keeper) in [(BEFORE, &before), (AMONG, &among)] {
        assert_eq!(named(&report, keeper.port(), keep), SOCKETS, "{keep}");
    }
}

/// Sockets at the port that are stuck and for which this function is blamed.
fn named(report: &Report, port: u16, keep: &str) -> usize {
    let sites = report.on_port(port);
    let of_it = sites.iter().filter(|site| {
        let blame = site.blame.as_ref();
        site.over.is_none() && blame.is_some_and(|blame| blame.function == keep)
    });
    of_it.map(|site| site.count).sum()
}

struct Flood(Child, Lines);

impl Flood {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .args([AT_ONCE.to_string(), WAVES.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the flood");
        let output = Lines::of(child.stdout.take().expect("hear it"));
        Self(child, output)
    }

    fn said(&self, prefix: &str) -> String {
        let said = self.1.after(prefix, PATIENCE);
        said.unwrap_or_else(|| panic!("no `{prefix}` but {:?}", self.1.so_far()))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waves of connections whose clients have left, which it all closes at once a second later; then it stays.
const SOURCE: &str = r#"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) { perror(what); exit(1); }

int main(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (argc < 3) return 2;
    int count = atoi(argv[1]), waves = atoi(argv[2]);
    int *kept = calloc(count, sizeof *kept);
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 64)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listens %d\n", ntohs(address.sin_port));
    for (int wave = 1; wave <= waves; wave++) {
        for (int i = 0; i < count; i++) {
            int client = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(client, (struct sockaddr *)&address, size)) fail("connect");
            kept[i] = accept(listener, NULL, NULL);
            if (kept[i] < 0) fail("accept");
            close(client);
        }
        usleep(1000000);
        for (int i = 0; i < count; i++) close(kept[i]);
        printf("wave %d\n", wave);
    }
    puts("over");
    for (;;) pause();
}
"#;
