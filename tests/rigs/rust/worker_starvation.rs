//! worker-starvation: an acceptor goes on accepting while every worker of the pool sits in a write to
//! a client that has stopped reading. Later clients queue behind them and leave; their request is
//! never read. The healthy twin gives up on such a client.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::Builder;
use std::time::Duration;

#[path = "rig.rs"]
mod rig;

const WORKERS: isize = 5;

#[inline(never)]
fn write_page(stream: &mut TcpStream) -> usize {
    // Not on the stack: a frame of 64 KiB would hide its callers from whoever copies 16 KiB.
    static ROW: [u8; 1 << 16] = [b'.'; 1 << 16];
    for rows in 0..1 << 10 {
        if stream.write_all(&ROW).is_err() {
            return rows;
        }
    }
    1 << 10
}

#[inline(never)]
fn serve_request(mut stream: TcpStream, healthy: bool) -> usize {
    if healthy {
        let patience = Some(Duration::from_millis(200));
        stream.set_write_timeout(patience).expect("set a timeout");
    }
    match stream.read(&mut [0; 1024]) {
        Ok(got) if got > 0 => write_page(&mut stream),
        _ => 0,
    }
}

fn work(queue: &Mutex<mpsc::Receiver<TcpStream>>, healthy: bool) {
    loop {
        let next = queue.lock().expect("the queue").recv();
        let Ok(stream) = next else { return };
        serve_request(stream, healthy);
    }
}

fn main() {
    // The clients that stop reading come first and do not get stuck.
    rig::SERVED.store(-WORKERS, Ordering::SeqCst);
    let rig = rig::start();
    let (sender, receiver) = mpsc::channel();
    let queue = Arc::new(Mutex::new(receiver));
    for number in 1..=WORKERS {
        let (queue, healthy) = (Arc::clone(&queue), rig.healthy);
        let named = Builder::new().name(format!("worker-{number}"));
        named.spawn(move || work(&queue, healthy)).expect("start a worker");
    }
    while let Ok((stream, _)) = rig.listener.accept() {
        sender.send(stream).expect("queue a stream");
        rig::SERVED.fetch_add(1, Ordering::SeqCst);
    }
}
