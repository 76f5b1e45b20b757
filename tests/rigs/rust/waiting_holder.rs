//! Keeps what it accepted, and waits elsewhere: the main thread in read(), some calls deep, another in
//! nanosleep(). Says when it began to wait; before that it worked.
use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[path = "rig.rs"]
mod rig;

#[inline(never)]
fn wait_for_backend(depth: usize, backend: &mut impl Read) -> usize {
    if depth > 0 {
        return wait_for_backend(depth - 1, backend) + 1;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    println!("waits {}", now.as_nanos());
    backend.read(&mut [0]).expect("read")
}

#[inline(never)]
fn work(time: Duration) -> u64 {
    let begin = Instant::now();
    let mut rounds = 0;
    while begin.elapsed() < time {
        rounds += 1;
    }
    rounds
}

#[inline(never)]
fn sleep_until_noon() {
    // As the last call it would be a jump, and this function not on the stack.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn main() {
    let rig = rig::start();
    std::thread::spawn(sleep_until_noon);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = rig.listener.accept() {
            kept.extend((!rig.healthy).then_some(stream));
            rig::SERVED.fetch_add(1, Ordering::SeqCst);
        }
    });
    work(Duration::from_millis(500));
    let (mut backend, _stays_open) = std::io::pipe().expect("pipe");
    std::process::exit(wait_for_backend(3, &mut backend) as i32);
}
