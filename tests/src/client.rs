//! The other end of every rig: clients that ask and leave in a chosen manner, and the upstream
//! server whose idle connections a pool keeps. Loopback only.
use crate::wait::poll_for;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Deserialize;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: rig\r\n\r\n";
const HEALTH_CHECK: &[u8] = b"GET /health HTTP/1.1\r\nHost: rig\r\n\r\n";
pub(crate) const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// More than a slow backend takes, less than the rig itself has room for.
const BIG: usize = 64 << 10;
/// More than a client reads at once, less than the buffers of a connection hold.
const BIG_ANSWER: usize = 128 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// A rig that answers at all has begun to by then.
const FIRST_BYTE: Duration = Duration::from_secs(1);
/// How long a client that gives up has waited.
const SCRAPE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the upstream keeps idle connections.
const IDLE_TIMEOUT: Duration = Duration::from_millis(100);

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// One after the other: ask, take the reply, close.
    ReplyThenClose,
    /// All ask, all take their reply, and only then do they close.
    AllReplyThenClose,
    /// The same, for the path that rigs close properly.
    HealthCheck,
    /// All ask, wait for a while, and give up together.
    GiveUp,
    /// Real scrapes by a real Prometheus; `prometheus.rs`.
    Prometheus,
    /// One after the other, through a real proxy: ask, take the reply, close; `haproxy.rs`.
    ThroughHaproxy,
    /// Ask and leave without waiting.
    RequestThenClose,
    /// The same with a request of 64 KiB, which a proxy passes on piece by piece.
    BigRequestThenClose,
    /// One after the other: ask, say that nothing more comes, take the reply, close.
    RequestThenHalfClose,
    /// One after the other: ask, take the reply, reset the connection.
    ReplyThenReset,
    /// The rig is the client: serve it, then close what it keeps.
    Upstream,
    /// The same with answers of 128 KiB.
    BigUpstream,
}

/// Makes `count` clients; returns their addresses. They are all gone afterwards.
pub fn visit(server: SocketAddr, count: usize, manner: Manner) -> Vec<SocketAddr> {
    raise_file_limit();
    let mut together = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..count {
        let mut stream = connect(server);
        addresses.push(stream.local_addr().expect("a client's address"));
        let request = match manner {
            Manner::HealthCheck => HEALTH_CHECK,
            _ => REQUEST,
        };
        stream.write_all(request).expect("send a request");
        match manner {
            Manner::BigRequestThenClose => {
                stream.write_all(&b".".repeat(BIG)).expect("send its body");
            }
            Manner::ReplyThenClose | Manner::HealthCheck => take_reply(&mut stream),
            Manner::RequestThenClose => {}
            Manner::RequestThenHalfClose => {
                stream.shutdown(Shutdown::Write).expect("half close");
                take_reply(&mut stream);
            }
            Manner::AllReplyThenClose | Manner::GiveUp => together.push(stream),
            Manner::ReplyThenReset => {
                take_reply(&mut stream);
                let at_once = Some(Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&stream, at_once).expect("set SO_LINGER");
            }
            Manner::Upstream
            | Manner::BigUpstream
            | Manner::Prometheus
            | Manner::ThroughHaproxy => panic!("{manner:?} is not a manner to visit"),
        }
    }
    if manner == Manner::GiveUp {
        std::thread::sleep(SCRAPE_TIMEOUT);
    } else {
        together.iter_mut().for_each(take_reply);
    }
    addresses
}

/// Clients that ask, never read the reply, and stay as long as the streams live. When this returns
/// their replies have begun to come, so that a worker is at each of them; or time enough has passed.
pub fn pin(server: SocketAddr, count: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut stream = connect(server);
        stream.write_all(REQUEST).expect("send a request");
        stream.set_nonblocking(true).expect("do not block");
        stream
    };
    let pinned: Vec<TcpStream> = (0..count).map(ask).collect();
    let begun = |stream: &TcpStream| stream.peek(&mut [0]).is_ok();
    poll_for(FIRST_BYTE, || pinned.iter().all(begun).then_some(()));
    pinned
}

/// One connected client, left to the test.
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)
        .unwrap_or_else(|error| panic!("connect to {server}: {error}"));
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("set a read timeout");
    stream
}

fn take_reply(stream: &mut TcpStream) {
    let mut reply = [0; 1024];
    let got = stream.read(&mut reply).expect("receive a reply");
    assert!(got > 0, "the rig closed without a reply");
}

/// A server that answers one request on each of its connections and then closes all of them.
#[derive(Debug)]
pub struct Upstream {
    port: u16,
}

impl Upstream {
    /// For a rig that is a client; none for one that has clients.
    pub fn start(manner: Manner, connections: usize) -> Option<Self> {
        match manner {
            Manner::Upstream => Some(Self::answer(connections, REPLY.to_vec())),
            Manner::BigUpstream => {
                let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG_ANSWER}\r\n\r\n");
                answer.extend(std::iter::repeat_n('.', BIG_ANSWER));
                Some(Self::answer(connections, answer.into_bytes()))
            }
            _ => None,
        }
    }

    fn answer(connections: usize, answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind an upstream");
        let port = listener
            .local_addr()
            .expect("the upstream's address")
            .port();
        std::thread::spawn(move || {
            let mut streams = Vec::new();
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().expect("accept from the pool");
                let got = stream.read(&mut [0; 1024]).expect("receive from the pool");
                assert!(got > 0, "the pool sent no request");
                stream.write_all(&answer).expect("answer the pool");
                streams.push(stream);
            }
            // A FIN on the heels of a reply is eaten by the recv() that takes the reply.
            std::thread::sleep(IDLE_TIMEOUT);
        });
        Self { port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Thousands of clients need more descriptors than the usual soft limit.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
}

/// Connections that are closed a good second after their peers have: long enough to be followed. One at each pause,
/// until `done`; comes back with how many.
pub fn churn(done: &AtomicBool, pause: Duration) -> usize {
    const KEPT: Duration = Duration::from_millis(1100);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let address = listener.local_addr().expect("an address");
    let mut held = VecDeque::new();
    let mut count = 0;
    while !done.load(Ordering::SeqCst) {
        drop(connect(address));
        held.push_back((Instant::now(), listener.accept().expect("accept")));
        count += 1;
        while held
            .front()
            .is_some_and(|(since, _): &(Instant, _)| since.elapsed() > KEPT)
        {
            held.pop_front();
        }
        std::thread::sleep(pause);
    }
    count
}
