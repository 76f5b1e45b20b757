//! Connections that are open and will get stuck: nobody reads, until not even a FIN behind the data can come in.
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tests::report::Report;
use tests::sockleak::{self, Running};
use tests::{skip, wait};

const MIN_AGE: &str = "2s";
/// The threshold, two looks at all connections and a report.
const LONG_ENOUGH: Duration = Duration::from_secs(6);
/// Nothing can be written for so long: the reader's window is closed.
const FULL: Duration = Duration::from_millis(300);

#[test]
fn a_connection_without_room_for_a_fin_is_told_and_a_slowly_read_one_is_not() {
    let name = "a_connection_without_room_for_a_fin_is_told_and_a_slowly_read_one_is_not";
    if !skip::require_root(name) {
        return;
    }
    let tracer = Running::watch(["--json", "--min-age", MIN_AGE, "--sockets-per-site", "1000"]);
    let unread = Full::open();
    let read_slowly = Full::open();
    let done = AtomicBool::new(false);
    let (watched, snapshot) = thread::scope(|scope| {
        let _until = wait::RaiseOnDrop(&done);
        scope.spawn(|| read_slowly.trickle(&done));
        thread::sleep(LONG_ENOUGH);
        let args = [
            "snapshot",
            "--json",
            "--min-age",
            MIN_AGE,
            "--sockets-per-site",
            "1000",
        ];
        let snapshot = sockleak::run(args).report();
        (tracer.stop().report(), snapshot)
    });
    for (how, report) in [("watch", watched), ("snapshot", snapshot)] {
        assert_eq!(
            told(&report, unread.port),
            1,
            "{how}: {:#?}",
            report.about_to_be_stuck
        );
        assert_eq!(
            told(&report, read_slowly.port),
            0,
            "{how}: {:#?}",
            report.about_to_be_stuck
        );
    }
}

/// How many connections accepted on this port.
fn told(report: &Report, port: u16) -> usize {
    let closed = report
        .about_to_be_stuck
        .iter()
        .filter(|entry| entry.danger == "window-closed");
    let mut count = 0;
    for entry in closed {
        let process = entry.process.as_ref().map(|process| process.pid);
        let address = format!("127.0.0.1:{port}");
        let own = entry
            .sockets
            .iter()
            .filter(|socket| socket.local == address);
        for socket in own {
            assert_eq!(process, Some(std::process::id()), "{entry:?}");
            assert!(socket.recv_q > 0, "{socket:?}");
            count += 1;
        }
    }
    count
}

/// A connection whose client has written until nothing went any more.
struct Full {
    port: u16,
    client: TcpStream,
    server: TcpStream,
}

impl Full {
    fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        // What is accepted has the listener's buffer.
        set_socket_recv_buffer_size(&listener, 8192).expect("a small buffer");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("connect");
        set_socket_send_buffer_size(&client, 65_536).expect("a small buffer");
        let (server, _) = listener.accept().expect("accept");
        let full = Self {
            port: address.port(),
            client,
            server,
        };
        full.fill();
        full
    }

    /// Writes until nothing has gone for a while.
    fn fill(&self) {
        self.client.set_nonblocking(true).expect("do not block");
        let mut last = Instant::now();
        while last.elapsed() < FULL {
            match (&self.client).write(&[b'x'; 4096]) {
                Ok(_) => last = Instant::now(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("write: {error}"),
            }
        }
    }

    /// Reads a little now and then, and the client has always more.
    fn trickle(&self, done: &AtomicBool) {
        let mut little = [0; 512];
        while !done.load(Ordering::SeqCst) {
            let read = (&self.server).read(&mut little).expect("read");
            assert!(read > 0, "the client has left");
            match (&self.client).write(&[b'x'; 512]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("write: {error}"),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
