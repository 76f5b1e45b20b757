//! The service behind a rig that is a client or a proxy itself: it answers, is silent, or does not
//! even read. Loopback only; gone, with its connections, when dropped.
use rustix::net::sockopt::set_socket_recv_buffer_size;
use serde::Deserialize;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    ended: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Backend {
    pub fn start(temper: Temper) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a backend");
        if temper == Temper::Slow {
            set_socket_recv_buffer_size(&listener, LITTLE_ROOM).expect("set SO_RCVBUF");
        }
        listener.set_nonblocking(true).expect("do not block");
        let port = listener.local_addr().expect("its address").port();
        let ended = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ended);
        let server = std::thread::spawn(move || serve(&listener, temper, &until));
        Self {
            port,
            ended,
            server: Some(server),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

fn serve(listener: &TcpListener, temper: Temper, ended: &AtomicBool) {
    let mut unread = Vec::new();
    while !ended.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((stream, _)) if temper == Temper::Slow => unread.push(stream),
            Ok((stream, _)) => drop(std::thread::spawn(move || converse(stream, temper))),
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
