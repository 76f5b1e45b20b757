//! What a fleet groups by: the same code path has the same fingerprint in another build of the program, at another
//! path, in another network namespace.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tests::exporter::Exporter;
use tests::wait::wait_for;
use tests::{process, skip};

const SOON: Duration = Duration::from_secs(40);
/// Every second it reads a connection to the end and forgets it.
const PROGRAM: &str = r#"
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>
__attribute__((noinline)) int forget_this_client(int fd) {
    char bytes[64];
    int count = 0;
    while (recv(fd, bytes, sizeof bytes, 0) > 0) count++;
    return count + 1;
}
int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), count = 0;
    bind(listener, (struct sockaddr *)&at, size);
    listen(listener, 8);
    getsockname(listener, (struct sockaddr *)&at, &size);
    for (int round = 0; round < 100; round++) {
        int client = socket(AF_INET, SOCK_STREAM, 0);
        connect(client, (struct sockaddr *)&at, size);
        int accepted = accept(listener, NULL, NULL);
        send(client, "ask", 3, 0);
        close(client);
        count += forget_this_client(accepted);
        sleep(1);
    }
    return count == 0;
}
"#;
/// Lines above, and code that moves every address.
const ABOVE: &str = "/* A release later. */\n\n\n\
    __attribute__((noinline, used)) int added(int one) { volatile int sum = one; while (sum < 9) sum += 2; return sum; }\n";
/// Before a command: a network of its own.
const ALONE: [&str; 4] = ["-n", "sh", "-c", "ip link set lo up && exec \"$0\""];

#[test]
fn two_builds_on_two_hosts_have_one_fingerprint() {
    let name = "two_builds_on_two_hosts_have_one_fingerprint";
    if !skip::require_root(name) || !skip::require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let old = build(&folder.path().join("releases/1"), "");
    let new = build(&folder.path().join("opt/shop/current"), ABOVE);
    let exporter = Exporter::start(&[]);
    let _old = Background::start(Command::new("unshare").args(ALONE).arg(&old));
    let _new = Background::start(&mut Command::new(&new));
    let sites = || -> Vec<(String, String, String)> {
        let text = exporter.get("/api/report").text();
        let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let sites = report["sites"].as_array().expect("sites");
        let blamed = sites
            .iter()
            .filter(|site| site["blame"]["function"] == "forget_this_client");
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        blamed
            .map(|site| {
                let program = text(&site["process"]["exe"]);
                let line = site["blame"]["line"].to_string();
                (program, line, text(&site["fingerprint"]))
            })
            .collect()
    };
    wait_for("both are found", SOON, || {
        let programs: BTreeSet<String> = sites().into_iter().map(|(program, ..)| program).collect();
        programs.len() == 2
    });
    let found = sites();
    let lines: BTreeSet<&String> = found.iter().map(|(_, line, _)| line).collect();
    assert_eq!(lines.len(), 2, "they are two builds: {found:#?}");
    let fingerprints: BTreeSet<&String> = found.iter().map(|(.., print)| print).collect();
    assert_eq!(fingerprints.len(), 1, "{found:#?}");
    let print = fingerprints.first().expect("one");
    assert!(!print.is_empty());
    // And one series.
    let stuck = exporter.metric("sockleak_site_stuck", &[print]);
    assert!(stuck.is_some_and(|stuck| stuck >= 2.0), "{stuck:?}");
}

fn build(folder: &Path, above: &str) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let (source, program) = (folder.join("shop.c"), folder.join("shop"));
    fs::write(&source, format!("{above}{PROGRAM}")).expect("write the program");
    let done = Command::new("gcc")
        .args(["-g", "-O1", "-o"])
        .args([&program, &source])
        .status();
    assert!(done.expect("run gcc").success());
    program
}

/// A process of a test's own; killed when dropped.
struct Background(Child);

impl Background {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().expect("start it"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        process::signal(&self.0, Signal::KILL);
        process::wait(&mut self.0, SOON);
    }
}
