//! What the Rust rigs share: options, the listener, telling the harness when the leak is complete,
//! and leaving when stdin ends. Built with plain rustc; no client socket is touched here.
#![allow(dead_code, reason = "each rig uses its part")]
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

pub struct Rig {
    pub healthy: bool,
    pub listener: TcpListener,
}

/// A rig that is a client: `--port` names its server.
pub struct Client {
    pub healthy: bool,
    pub connections: usize,
    pub port: u16,
}

/// Connections the rig is done with.
pub static SERVED: AtomicIsize = AtomicIsize::new(0);

pub const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Fields of /proc/net/tcp.
const LOCAL: usize = 1;
const REMOTE: usize = 2;
const STATE: usize = 3;

pub fn start() -> Rig {
    let Client { healthy, connections, port } = options();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("bind");
    let port = listener.local_addr().expect("local address").port();
    report(LOCAL, port, connections, healthy);
    Rig { healthy, listener }
}

pub fn start_client() -> Client {
    let client = options();
    report(REMOTE, client.port, client.connections, client.healthy);
    client
}

fn options() -> Client {
    let (mut port, mut connections, mut healthy) = (0, 5, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse().ok());
        match arg.as_str() {
            "--healthy" => healthy = true,
            "--port" => port = number().unwrap_or(port),
            "--connections" => connections = number().unwrap_or(connections),
            _ => {
                eprintln!("usage: rig [--port N] [--connections N] [--healthy]");
                std::process::exit(2);
            }
        }
    }
    Client { healthy, connections, port: port as u16 }
}

fn report(end: usize, port: u16, connections: usize, healthy: bool) {
    println!("ready {port}");
    std::thread::spawn(move || report_when_stuck(end, port, connections, healthy));
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
}

fn report_when_stuck(end: usize, port: u16, connections: usize, healthy: bool) {
    let wanted = if healthy { 0 } else { connections };
    while SERVED.load(Ordering::SeqCst) < connections as isize || stuck_on(end, port) != wanted {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("leaking {wanted}");
}

fn stuck_on(end: usize, port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("/proc/self/net/tcp");
    let port = format!(":{port:04X}");
    let stuck = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.len() > STATE && fields[end].ends_with(&port) && fields[STATE] == "08"
    };
    table.lines().filter(stuck).count()
}
