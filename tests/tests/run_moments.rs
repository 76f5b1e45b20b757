//! `sockleak run` and programs that live for a moment: nobody can look at them in time, and they are judged and
//! named all the same.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::time::Duration;

use tests::moment;
use tests::report::Report;
use tests::skip::{require_program, require_root};
use tests::sockleak::{Finished, command, finish};

const LIMIT: Duration = Duration::from_mins(1);

const MOMENT_GO: &str = r#"
package main

import (
	"net"
	"syscall"
)

//go:noinline
func handleClient(listener net.Listener, peer net.Conn) net.Conn {
	connection, _ := listener.Accept()
	peer.Close()
	connection.Read(make([]byte, 1))
	return connection
}

var kept []net.Conn

func main() {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	for i := 0; i < 2; i++ {
		peer, _ := net.Dial("tcp", listener.Addr().String())
		kept = append(kept, handleClient(listener, peer))
	}
	syscall.Exit(0)
}
"#;

struct Told {
    ended: Finished,
    report: Report,
}

fn strict(cmd: &[&str]) -> Told {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let json = file.path().to_str().expect("a path");
    let mut words = vec!["run", "--exit-age", "0s", "--json", json, "--"];
    words.extend(cmd);
    let ended = finish(&mut command(words), LIMIT);
    let text = std::fs::read_to_string(json).expect("a report");
    let report = Report::parse(&text);
    Told { ended, report }
}

impl Told {
    fn is_of(&self, function: &str, sockets: usize) {
        let told = &self.ended.stderr;
        assert_eq!(self.ended.code(), 23, "{told}");
        let [site] = &self.report.sites[..] else {
            panic!("{told}")
        };
        let blame = site.blame.as_ref().map(|blame| blame.function.as_str());
        assert_eq!((blame, site.count), (Some(function), sockets), "{told}");
    }
}

#[test]
fn a_program_that_ends_at_once_is_judged_and_named() {
    let name = "a_program_that_ends_at_once_is_judged_and_named";
    if !require_root(name) || !require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = moment::build(folder.path());
    let program = program.to_str().expect("a path");
    let mut ids = Vec::new();
    // The second one is gone long before anybody can have been told that it came.
    for life in ["30", "0", "0", "0"] {
        let told = strict(&[program, "3", life]);
        told.is_of("handle_client", 3);
        ids.push(told.report.sites[0].id.clone());
        let healthy = strict(&[program, "3", life, "healthy"]);
        assert_eq!(healthy.ended.code(), 0, "{}", healthy.ended.stderr);
        assert!(healthy.report.sites.is_empty());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[test]
fn a_program_that_is_gone_by_then_is_named_or_said_to_be_gone() {
    let name = "a_program_that_is_gone_by_then_is_named_or_said_to_be_gone";
    if !require_root(name) || !require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = moment::build(folder.path());
    let program = program.to_str().expect("a path");
    // As `go test` does: opened at its beginning, it is named when it is gone.
    let removed = format!("{program} 2 200; rm {program}");
    let kept = format!("{program}.kept");
    std::fs::copy(program, &kept).expect("a copy");
    strict(&["sh", "-c", &removed]).is_of("handle_client", 2);
    // Too short to be opened, and another program has its path by then.
    let moved = format!("{kept} 2 0; rm {kept}; cp /bin/true {kept}; {kept}");
    let told = strict(&["sh", "-c", &moved]);
    assert_eq!(told.ended.code(), 23, "{}", told.ended.stderr);
    let site = &told.report.sites[0];
    let blamed = site.blame.as_ref().map(|blame| blame.function.as_str());
    if blamed != Some("handle_client") {
        let by_place = blamed.is_none_or(|name| name.starts_with("moment.kept+0x"));
        assert!(by_place, "{blamed:?}: {}", told.ended.stderr);
        let said = ["is gone", "was replaced on disk"];
        assert!(
            said.iter().any(|said| told.ended.stderr.contains(said)),
            "{}",
            told.ended.stderr
        );
    }
}

/// What is known of a program is used for its next process, and never for another that has taken its path.
#[test]
fn a_program_that_takes_the_path_of_another_is_named_by_its_own_functions() {
    let name = "a_program_that_takes_the_path_of_another_is_named_by_its_own_functions";
    if !require_root(name) || !require_program(name, "gcc") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = moment::build(folder.path());
    let other = moment::build_other(folder.path());
    let (program, other) = (program.display(), other.display());
    // By another file at the path, then by other contents of the same file.
    for replace in ["mv", "cp"] {
        let often = format!("n=0; while [ $n -lt 15 ]; do {program} 2 20; n=$((n + 1)); done");
        let script =
            format!("cp {program} {program}.1; {often}; {replace} {other} {program}; {often}");
        let told = strict(&["sh", "-c", &script]);
        let stderr = &told.ended.stderr;
        assert_eq!(told.ended.code(), 23, "{stderr}");
        let mut named = std::collections::BTreeMap::new();
        for site in &told.report.sites {
            let blamed = site.blame.as_ref().map(|blame| blame.function.as_str());
            *named.entry(blamed.unwrap_or_default()).or_insert(0) += site.count;
        }
        // What a file held before it was written over is not there to be read any more, and said to be gone.
        let is_gone = replace == "cp" && stderr.contains("was replaced on disk");
        let unnamed: usize = named
            .iter()
            .filter(|(function, _)| is_gone && function.starts_with("moment+0x"))
            .map(|(_, count)| count)
            .sum();
        let count = |function| named.get(function).copied().unwrap_or_default();
        let (first, second) = (count("handle_client"), count("serve_peer"));
        assert_eq!(second, 30, "{replace}: {stderr}");
        assert_eq!(first + unnamed, 30, "{replace}: {stderr}");
        std::fs::copy(format!("{program}.1"), program.to_string()).expect("a copy");
        moment::build_other(folder.path());
    }
}

/// Programs of Go before 1.24 have no build-id that the kernel could tell.
#[test]
fn a_go_program_that_ends_at_once_is_named() {
    let name = "a_go_program_that_ends_at_once_is_named";
    if !require_root(name) || !require_program(name, "go") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("main.go"), MOMENT_GO).expect("the source");
    let mut build = Command::new("go");
    build.args(["build", "-o", "moment", "main.go"]);
    build
        .current_dir(folder.path())
        .env("GOCACHE", folder.path().join("cache"));
    assert!(build.status().expect("go").success());
    let program = folder.path().join("moment");
    strict(&[program.to_str().expect("a path")]).is_of("main.handleClient", 2);
}

/// Closes all that it accepts, and is killed while clients that have gone wait in its queue.
const KILLED_WITH_A_QUEUE: &str = "
import os, signal, socket, time
listener = socket.create_server(('127.0.0.1', 0), backlog=50)
server = os.fork()
if server == 0:
    for _ in range(5):
        client, _ = listener.accept()
        while client.recv(100):
            pass
        client.close()
    time.sleep(100)
for _ in range(20):
    socket.create_connection(listener.getsockname()).close()
time.sleep(0.3)
os.kill(server, signal.SIGKILL)
os.waitpid(server, 0)
os._exit(0)
";
/// Both ends of a connection are open to the exit, and one has not read what came.
const OPEN_TO_THE_EXIT: &str = "
import os, socket
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b'unread')
os._exit(0)
";
/// A child gets a copy of what its parent closes.
const COPIED: &str = "
import os, socket, time
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
child = os.fork()
if child == 0:
    client.close()
    time.sleep(0.3)
    os._exit(0)
client.close()
server.recv(1)
server.close()
os.waitpid(child, 0)
";
const UNREAD: &str = "
import os, socket
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.sendall(b'unread')
client.close()
os._exit(0)
";

/// What the exit closes as well where a program does all it has to.
#[test]
fn what_no_program_could_have_closed_is_no_leak_at_an_exit() {
    if !require_root("what_no_program_could_have_closed_is_no_leak_at_an_exit") {
        return;
    }
    for script in [KILLED_WITH_A_QUEUE, OPEN_TO_THE_EXIT, COPIED] {
        let told = strict(&["python3", "-c", script]);
        assert_eq!(told.ended.code(), 0, "{script}{}", told.ended.stderr);
    }
    // The exit resets it, for there is unread data, but nothing had ended it before.
    let told = strict(&["python3", "-c", UNREAD]);
    assert_eq!(told.ended.code(), 23, "{}", told.ended.stderr);
    let summary = &told.report.sites[0].summary;
    assert!(summary.contains("stayed in CLOSE_WAIT"), "{summary}");
}
