//! idle-pool: a client that keeps its connections for the next request, while the server closes idle
//! ones. The healthy twin looks whether they are still good, and throws the others away.
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::Ordering;

#[path = "rig.rs"]
mod rig;

#[inline(never)]
fn pool_connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect")
}

#[inline(never)]
fn pool_request(stream: &mut TcpStream) -> usize {
    stream.write_all(b"GET /item HTTP/1.1\r\nHost: pool\r\n\r\n").expect("ask");
    stream.read(&mut [0; 1024]).expect("receive")
}

#[inline(never)]
fn is_dead(stream: &TcpStream) -> bool {
    stream.peek(&mut [0]).is_ok_and(|got| got == 0)
}

fn main() {
    let client = rig::start_client();
    let mut pool = Vec::new();
    for _ in 0..client.connections {
        let mut stream = pool_connect(client.port);
        pool_request(&mut stream);
        pool.push(stream);
    }
    if client.healthy {
        pool.retain(|stream| !is_dead(stream));
    }
    rig::SERVED.store(client.connections as isize, Ordering::SeqCst);
    loop {
        std::thread::park();
    }
}
