//! `sockleak trace` against `tcpstates` of libbpf-tools, on the same traffic at the same moment:
//! the same transitions of the same connections, with the same durations.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;
use tests::sockleak::Running;
use tests::transitions::{Step, Told, by_connection, is_whole, on_port, ours_in, theirs_in};
use tests::{client, skip, wait};

const NAME: &str = "trace_agrees_with_tcpstates";
const CONNECTIONS: usize = 12;
const LIMIT: Duration = Duration::from_secs(2);
/// Loopback traffic can make the kernel skip a run of either tool's program.
const ATTEMPTS: usize = 4;
/// The two tools read the clock one after the other, and another tracer may run in between.
const TOLERANCE_MS: f64 = 5.0;

#[test]
fn trace_agrees_with_tcpstates() {
    if !skip::require_root(NAME) || !skip::require_program(NAME, "tcpstates") {
        return;
    }
    let Some(tcpstates) = start_tcpstates() else {
        return;
    };
    drop(tcpstates);
    for loopback in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        let agreed = (0..ATTEMPTS).any(|_| both_tell_the_same(loopback));
        assert!(agreed, "losses in each of {ATTEMPTS} attempts");
    }
}

/// False when a tool lost something, which ours has to admit; any other difference is a failure.
fn both_tell_the_same(loopback: IpAddr) -> bool {
    let listener = TcpListener::bind(SocketAddr::new(loopback, 0)).expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let theirs = start_tcpstates().expect("tcpstates attached before");
    let ours = Trace::start(&[]);
    traffic(&listener);
    let ended = || has_ended(&theirs.stdout().so_far().join("\n"), port).then_some(());
    wait::poll_for(LIMIT, ended);
    theirs.signal(rustix::process::Signal::INT);
    let mut theirs = by_connection(on_port(theirs_in(&theirs.stop().stdout), port));
    let Some(ours) = ours.stop() else {
        return false;
    };
    let ours = by_connection(on_port(ours_in(&ours), port));
    assert_eq!(ours.len(), 2 * CONNECTIONS, "both ends of each: {ours:#?}");
    let gaps: Vec<_> = ours.iter().filter(|(_, life)| !is_whole(life)).collect();
    assert!(gaps.is_empty(), "gaps, and no word of them: {gaps:#?}");
    theirs.retain(|_, life| is_whole(life));
    compare(&ours, &theirs);
    theirs.len() >= 2 * CONNECTIONS - 2
}

/// The kernel gives the local port back before it says CLOSE: the filter has to know it even then.
#[test]
fn a_port_filter_keeps_whole_lives() {
    if !skip::require_root("a_port_filter_keeps_whole_lives") {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let attempt = |_| {
        let trace = Trace::start(&["--port", &port.to_string()]);
        traffic(&listener);
        let ended = |told: &str| {
            let lines = ours_in(told).into_iter();
            lines.filter(|line| line.step.new == "close").count() == 2 * CONNECTIONS
        };
        wait::poll_for(LIMIT, || ended(&trace.so_far()).then_some(()));
        trace.stop()
    };
    let told = (0..ATTEMPTS)
        .find_map(attempt)
        .expect("one attempt without a loss");
    let told = by_connection(ours_in(&told));
    assert_eq!(told.len(), 2 * CONNECTIONS, "both ends of each: {told:#?}");
    for (ends, life) in &told {
        assert!(is_whole(life), "{ends:?}: {life:?}");
    }
}

/// `sockleak trace` into a file.
struct Trace {
    running: Running,
    folder: tempfile::TempDir,
}

impl Trace {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the trace");
        let file = folder.path().join("trace.ndjson");
        let file = file.to_str().expect("a name in UTF-8");
        let args = ["--json", "--output", file];
        let running = Running::trace(args.iter().chain(more));
        Self { running, folder }
    }

    /// Whole lines only: the last one may still be being written.
    fn so_far(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("trace.ndjson"));
        let text = text.unwrap_or_default();
        text.rsplit_once('\n')
            .map_or_else(String::new, |(whole, _)| whole.to_owned())
    }

    /// `None` when it says that it lost something.
    fn stop(self) -> Option<String> {
        let finished = self.running.stop();
        if finished.code() == 125 && finished.stderr.contains("lost") {
            return None;
        }
        assert_eq!(finished.code(), 0, "{}", finished.stderr);
        let file = self.folder.path().join("trace.ndjson");
        Some(std::fs::read_to_string(file).expect("read the trace"))
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
fn has_ended(table: &str, port: u16) -> bool {
    let lines = on_port(theirs_in(table), port).into_iter();
    lines.filter(|line| line.step.new == "close").count() == 2 * CONNECTIONS
}

fn compare(ours: &Told, theirs: &Told) {
    let names = |steps: &[Step]| -> Vec<_> {
        let names = |step: &Step| (step.old.clone(), step.new.clone());
        steps.iter().map(names).collect()
    };
    for (ends, others) in theirs {
        let steps = ours
            .get(ends)
            .unwrap_or_else(|| panic!("{ends:?} is not in ours"));
        assert_eq!(names(steps), names(others), "{ends:?}");
        for (index, (step, other)) in steps.iter().zip(others).enumerate() {
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
