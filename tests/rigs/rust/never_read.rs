//! never-read: the acceptor queues streams for a worker that was never started; what it accepts is
//! kept and never looked at.
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;

#[path = "rig.rs"]
mod rig;

#[inline(never)]
fn accept_and_queue(listener: &TcpListener, queue: &mut Vec<TcpStream>) -> usize {
    if let Ok((stream, _)) = listener.accept() {
        queue.push(stream);
    }
    queue.len()
}

fn main() {
    let rig = rig::start();
    let mut queue = Vec::new();
    loop {
        accept_and_queue(&rig.listener, &mut queue);
        if rig.healthy {
            queue.clear();
        }
        rig::SERVED.fetch_add(1, Ordering::SeqCst);
    }
}
