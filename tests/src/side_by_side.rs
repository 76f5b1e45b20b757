//! Some at a time: a rig mostly waits.
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Does `one` with each of them, so many at a time. Panics where one does, once those that have begun are over.
pub fn each<T: Send>(items: Vec<T>, at_a_time: usize, one: impl Fn(T) + Sync) {
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some(item) = next() {
                    one(item);
                }
            });
        }
    });
}
