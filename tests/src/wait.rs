//! Waiting with a deadline: tests poll for what they need, and say what never came.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Calls `probe` until it gives something; `None` when the deadline passes first.
pub fn poll_for<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Lets sockets grow older than `--min-age 1s`: an age is the one thing nobody can poll for.
pub fn outlive_one_second() {
    std::thread::sleep(Duration::from_millis(1200));
}

/// Like [`poll_for`], for a condition the test cannot go on without.
pub fn wait_for(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    assert!(
        poll_for(limit, || holds().then_some(())).is_some(),
        "{what}: not within {limit:?}"
    );
}

/// Raises a flag when dropped: a thread that works until then ends even if the test panics.
#[derive(Debug)]
pub struct RaiseOnDrop<'a>(pub &'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
