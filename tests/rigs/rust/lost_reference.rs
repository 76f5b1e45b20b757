//! lost-reference: each client gets a thread, which answers and hands the descriptor to nobody:
//! `into_raw_fd` for a library call, and the owner is gone.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::IntoRawFd;
use std::sync::atomic::Ordering;

#[path = "rig.rs"]
mod rig;

#[inline(never)]
fn handle_client_and_forget(mut stream: TcpStream, healthy: bool) -> usize {
    let mut request = [0; 1024];
    let got = stream.read(&mut request).unwrap_or(0);
    let sent = stream.write(rig::REPLY).unwrap_or(0);
    if !healthy {
        return stream.into_raw_fd() as usize;
    }
    got + sent
}

fn main() {
    let rig = rig::start();
    let healthy = rig.healthy;
    while let Ok((stream, _)) = rig.listener.accept() {
        std::thread::spawn(move || {
            handle_client_and_forget(stream, healthy);
            rig::SERVED.fetch_add(1, Ordering::SeqCst);
        });
    }
}
