//! What the Rust rigs share: options, the listener, telling the harness when the leak is complete,
//! and leaving when stdin ends. Built with plain rustc; no client socket is touched here.
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub struct Rig {
    pub healthy: bool,
    pub listener: TcpListener,
}

/// Connections the rig is done with.
pub static SERVED: AtomicUsize = AtomicUsize::new(0);

pub fn start() -> Rig {
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
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port as u16)).expect("bind");
    let port = listener.local_addr().expect("local address").port();
    println!("ready {port}");
    std::thread::spawn(move || report_when_stuck(port, connections, healthy));
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    Rig { healthy, listener }
}

fn report_when_stuck(port: u16, connections: usize, healthy: bool) {
    let wanted = if healthy { 0 } else { connections };
    while SERVED.load(Ordering::SeqCst) < connections || stuck_on(port) != wanted {
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("leaking {wanted}");
}

fn stuck_on(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("/proc/self/net/tcp");
    let port = format!(":{port:04X}");
    let stuck = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&port)) && fields.nth(1) == Some("08")
    };
    table.lines().filter(stuck).count()
}
