//! The service behind a rig that is a client or a proxy itself: it answers, is silent, or does not
//! even read. Loopback only; gone, with its connections, when dropped.
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde::Deserialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How the service treats its connections; it keeps each of them until the rig ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Temper {
    /// Every piece of a request gets an answer.
    Answers,
    /// Reads, and says nothing.
    Silent,
    /// Reads nothing, with little room for what is sent to it.
    Slow,
}

/// The kernel doubles it; a page or two, so that a proxy soon has to wait.
const LITTLE_ROOM: usize = 4096;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub struct Backend {
    port: u16,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    accepted: AtomicUsize,
}

impl Backend {
    pub fn start(temper: Temper) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a backend");
        if temper == Temper::Slow {
            set_socket_recv_buffer_size(&listener, LITTLE_ROOM).expect("set SO_RCVBUF");
        }
        listener.set_nonblocking(true).expect("do not block");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared::default());
        let its = Arc::clone(&shared);
        let server = std::thread::spawn(move || serve(&listener, temper, &its));
        Self {
            port,
            shared,
            server: Some(server),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections the rig has made here so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn serve(listener: &TcpListener, temper: Temper, shared: &Shared) {
    let mut unread = Vec::new();
    while !shared.ended.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                if temper == Temper::Slow {
                    unread.push(stream);
                } else {
                    std::thread::spawn(move || converse(stream, temper));
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK_AGAIN),
            Err(error) => panic!("a backend cannot accept: {error}"),
        }
    }
}

/// Until the rig hangs up, which the end of its process does too.
fn converse(mut stream: TcpStream, temper: Temper) {
    stream.set_nonblocking(false).expect("block again");
    while stream.read(&mut [0; 4096]).is_ok_and(|got| got > 0) {
        if temper == Temper::Answers && stream.write_all(crate::client::REPLY).is_err() {
            return;
        }
    }
}
