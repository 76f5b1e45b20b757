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
use tests::{client, skip, ss, wait};

const NAME: &str = "trace_agrees_with_tcpstates";
const CONNECTIONS: usize = 12;
const LIMIT: Duration = Duration::from_secs(10);
/// What the other tool may take to print what it has.
const FLUSH: Duration = Duration::from_secs(1);
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

/// False when a step is missing in both, or only in theirs; a step that only ours lacks is a failure
/// unless it admits a loss.
fn both_tell_the_same(loopback: IpAddr) -> bool {
    let listener = TcpListener::bind(SocketAddr::new(loopback, 0)).expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let theirs = start_tcpstates().expect("tcpstates attached before");
    let ours = Trace::start(&[]);
    traffic(&listener);
    outlived(port);
    let ended = || has_ended(&theirs.stdout().so_far().join("\n"), port).then_some(());
    wait::poll_for(FLUSH, ended);
    theirs.signal(rustix::process::Signal::INT);
    let theirs = by_connection(on_port(theirs_in(&theirs.stop().stdout), port));
    let Some(ours) = ours.stop() else {
        return false;
    };
    let ours = by_connection(on_port(ours_in(&ours), port));
    for (ends, others) in &theirs {
        compare(ends, ours.get(ends).map_or(&[], Vec::as_slice), others);
    }
    let whole = |told: &Told| told.values().filter(|life| is_whole(life)).count();
    whole(&ours) == 2 * CONNECTIONS && whole(&theirs) == 2 * CONNECTIONS
}

/// The kernel gives the local port back before it says CLOSE: the filter has to know it even then.
#[test]
fn a_port_filter_keeps_whole_lives() {
    if !skip::require_root("a_port_filter_keeps_whole_lives") {
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let attempt = || {
        let trace = Trace::start(&["--port", &port.to_string()]);
        traffic(&listener);
        outlived(port);
        trace.stop()
    };
    let all_whole =
        |told: &Told| told.len() == 2 * CONNECTIONS && told.values().all(|life| is_whole(life));
    let mut tried = Vec::new();
    for _ in 0..ATTEMPTS {
        let Some(told) = attempt() else { continue };
        let told = by_connection(ours_in(&told));
        if all_whole(&told) {
            return;
        }
        tried.push(told);
    }
    panic!("gaps in every attempt: {tried:#?}");
}

/// Waits until the kernel has no connection of this port any more.
fn outlived(port: u16) {
    let gone = || ss::alive(port).is_empty();
    wait::wait_for("all connections to end", LIMIT, gone);
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

/// The same steps with the same durations. Where theirs has a gap there is nothing to compare.
fn compare(ends: &(String, String), ours: &[Step], theirs: &[Step]) {
    if !is_whole(theirs) {
        return;
    }
    let names = |steps: &[Step]| -> Vec<_> {
        let names = |step: &Step| (step.old.clone(), step.new.clone());
        steps.iter().map(names).collect()
    };
    assert_eq!(names(ours), names(theirs), "{ends:?}");
    for (index, (step, other)) in ours.iter().zip(theirs).enumerate() {
        let (Some(ms), Some(other_ms)) = (step.ms, other.ms) else {
            assert_eq!(
                index, 0,
                "{ends:?}: only the first state has no beginning: {step:?}"
            );
            continue;
        };
        let apart = (ms - other_ms).abs();
        assert!(apart <= TOLERANCE_MS, "{ends:?}: {step:?} or {other:?}");
    }
}
