//! `sockleak trace` against `tcpstates` of libbpf-tools, on the same traffic at the same moment:
//! the same transitions of the same connections, with the same durations.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::sockleak::Running;
use tests::{client, skip, wait};

const NAME: &str = "trace_agrees_with_tcpstates";
const CONNECTIONS: usize = 12;
/// The two tools read the clock one after the other, and another tracer may run in between.
const TOLERANCE_MS: f64 = 5.0;

/// One transition; `ms` is the time spent in `old`, when the tool saw it begin.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    old: String,
    new: String,
    ms: Option<f64>,
}

/// What a tool says of each connection end, by its local and remote address.
type Told = BTreeMap<(String, String), Vec<Step>>;

#[test]
fn trace_agrees_with_tcpstates() {
    if !skip::require_root(NAME) || !skip::require_program(NAME, "tcpstates") {
        return;
    }
    for loopback in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let listener = TcpListener::bind(SocketAddr::new(loopback, 0)).expect("bind");
        let address = listener.local_addr().expect("an address");
        let Some(theirs) = start_tcpstates() else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder for the trace");
        let file = folder.path().join("trace.ndjson");
        let file_name = file.to_str().expect("a name in UTF-8");
        let port = address.port().to_string();
        let ours = Running::attached(["trace", "--json", "--port", &port, "--output", file_name]);
        traffic(&listener);
        wait::wait_for("all sockets to be gone", Duration::from_secs(5), || {
            has_ended(&theirs, address.port())
        });
        theirs.signal(rustix::process::Signal::INT);
        let finished = ours.stop();
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        let ours = by_connection(ours_in(
            &std::fs::read_to_string(&file).expect("read the trace"),
        ));
        let theirs = by_connection(theirs_in(&theirs.stop().stdout, address.port()));
        assert_eq!(
            ours.len(),
            2 * CONNECTIONS,
            "both ends of every connection: {ours:#?}"
        );
        compare(&ours, &theirs);
    }
}

/// Waits for its header, which it prints once attached. Not every kernel takes it.
fn start_tcpstates() -> Option<Running> {
    let program = skip::find_program("tcpstates").expect("tcpstates");
    let mut command = Command::new("stdbuf");
    let running = Running::start(
        command
            .arg("-oL")
            .arg(program)
            .arg("-w")
            .stdin(Stdio::null()),
    );
    if running
        .stdout()
        .after("SKADDR", Duration::from_secs(10))
        .is_none()
    {
        skip::skip(NAME, "tcpstates does not attach on this kernel");
        return None;
    }
    Some(running)
}

/// Connections that end in every way: the client closes first, the server does, one resets.
fn traffic(listener: &TcpListener) {
    let address = listener.local_addr().expect("an address");
    for turn in 0..CONNECTIONS {
        let mut client = client::connect(address);
        let (mut server, _) = listener.accept().expect("accept");
        client.write_all(b"ask").expect("send");
        assert_eq!(server.read(&mut [0; 16]).expect("receive"), 3);
        std::thread::sleep(Duration::from_millis(10));
        match turn % 3 {
            0 => {
                drop(client);
                assert_eq!(server.read(&mut [0; 16]).expect("receive"), 0);
                std::thread::sleep(Duration::from_millis(20));
            }
            1 => {
                drop(server);
                assert_eq!(client.read(&mut [0; 16]).expect("receive"), 0);
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => {
                let at_once = Some(Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&client, at_once).expect("SO_LINGER");
                drop(client);
            }
        }
    }
}

/// Every connection end has reached CLOSE, by the other tool's word.
fn has_ended(tcpstates: &Running, port: u16) -> bool {
    let lines = tcpstates.stdout().so_far().join("\n");
    let ended = theirs_in(&lines, port)
        .into_iter()
        .filter(|line| line.step.new == "close");
    ended.count() == 2 * CONNECTIONS
}

fn compare(ours: &Told, theirs: &Told) {
    let names = |steps: &[Step]| -> Vec<_> {
        steps
            .iter()
            .map(|step| (step.old.clone(), step.new.clone()))
            .collect()
    };
    let only_names = |told: &Told| -> BTreeMap<_, _> {
        told.iter()
            .map(|(ends, steps)| (ends.clone(), names(steps)))
            .collect()
    };
    assert_eq!(only_names(ours), only_names(theirs), "the same transitions");
    for (ends, steps) in ours {
        for (index, (step, other)) in steps.iter().zip(&theirs[ends]).enumerate() {
            let (Some(ms), Some(other_ms)) = (step.ms, other.ms) else {
                assert_eq!(
                    index, 0,
                    "{ends:?}: only the first state has no beginning: {step:?}"
                );
                continue;
            };
            assert!(
                (ms - other_ms).abs() <= TOLERANCE_MS,
                "{ends:?}: {step:?} or {other:?}"
            );
        }
    }
}

/// One line of either tool; `socket` tells sockets apart before their addresses are complete.
#[derive(Debug)]
struct Line {
    socket: String,
    ends: (String, String),
    step: Step,
}

/// Gathers the steps of one socket under the addresses it had in the end: at `SYN_SENT` the
/// local port is not chosen yet.
fn by_connection(told: Vec<Line>) -> Told {
    let mut lives: Vec<(String, Vec<Line>)> = Vec::new();
    for line in told {
        let begins = line.step.old == "listen" || line.step.old == "close";
        let open = lives
            .iter_mut()
            .rev()
            .find(|(socket, _)| *socket == line.socket);
        match open {
            Some((_, life)) if !begins => life.push(line),
            _ => lives.push((line.socket.clone(), vec![line])),
        }
    }
    let by_ends = lives.into_iter().map(|(_, life)| {
        let ends = life.last().expect("a life has a line").ends.clone();
        (ends, life.into_iter().map(|line| line.step).collect())
    });
    by_ends.collect()
}

fn ours_in(ndjson: &str) -> Vec<Line> {
    #[derive(Deserialize)]
    struct Event {
        cookie: String,
        local: String,
        remote: String,
        old: String,
        new: String,
        seconds_in_old: Option<f64>,
    }
    let line = |text: &str| {
        let event: Event = serde_json::from_str(text).expect("a line of NDJSON");
        let ms = event.seconds_in_old.map(|seconds| seconds * 1000.0);
        Line {
            socket: event.cookie,
            ends: (event.local, event.remote),
            step: Step {
                old: event.old,
                new: event.new,
                ms,
            },
        }
    };
    ndjson.lines().map(line).collect()
}

/// Columns: SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS. COMM may hold blanks,
/// so they are counted from the right.
fn theirs_in(table: &str, port: u16) -> Vec<Line> {
    let line = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let column = |from_right: usize| words.get(words.len().checked_sub(from_right)?).copied();
        if column(3)? != "->" || words.len() < 11 {
            return None;
        }
        let end =
            |ip: &str, port: &str| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?));
        let (local, remote) = (end(column(8)?, column(7)?)?, end(column(6)?, column(5)?)?);
        let ms: f64 = column(1)?.parse().ok()?;
        let step = Step {
            old: column(4)?.to_lowercase(),
            new: column(2)?.to_lowercase(),
            ms: (ms > 0.0).then_some(ms),
        };
        let ends = (local.to_string(), remote.to_string());
        let ours = local.port() == port || remote.port() == port;
        ours.then(|| Line {
            socket: words[0].to_owned(),
            ends,
            step,
        })
    };
    table.lines().filter_map(line).collect()
}
