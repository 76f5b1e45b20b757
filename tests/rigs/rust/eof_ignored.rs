//! eof-ignored: sessions live in a registry; a session that reads 0 bytes leaves its loop and the
//! registry keeps the stream.
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;

#[path = "rig.rs"]
mod rig;

#[inline(never)]
fn handle_client_and_forget(stream: &mut TcpStream) -> usize {
    let mut request = [0; 1024];
    let mut requests = 0;
    while stream.read(&mut request).is_ok_and(|got| got > 0) {
        requests += 1;
        let _ = stream.write_all(rig::REPLY);
    }
    requests
}

#[inline(never)]
fn serve_connection(registry: &mut HashMap<usize, TcpStream>, mut stream: TcpStream, healthy: bool) {
    let requests = handle_client_and_forget(&mut stream);
    if !healthy {
        registry.insert(registry.len() + requests, stream);
    }
    rig::SERVED.fetch_add(1, Ordering::SeqCst);
}

fn main() {
    let rig = rig::start();
    let mut registry = HashMap::new();
    while let Ok((stream, _)) = rig.listener.accept() {
        serve_connection(&mut registry, stream, rig.healthy);
    }
}
