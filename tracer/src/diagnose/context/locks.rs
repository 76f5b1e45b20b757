//! Frames by which runtimes show that a futex is a lock: nothing but its release ends the wait, and it brings
//! no work. Data; a condition, a queue or a latch is none of them.

use crate::model::stack::Frame;

/// What waits in these waits for a lock: the entry of a Java monitor, and the locks of java.util.concurrent.
fn takes_lock(frame: &Frame) -> bool {
    const LOCKS: &str = "java.util.concurrent.locks.";
    const TAKES: [&str; 2] = [".lock", ".lockInterruptibly"];
    let function = frame.function.as_deref().unwrap_or_default();
    function.starts_with("ObjectMonitor::enter")
        || function.starts_with(LOCKS) && TAKES.iter().any(|end| function.ends_with(end))
}

pub fn is_for_lock(stack: &[Frame]) -> bool {
    stack.iter().any(takes_lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(functions: &[&str]) -> Vec<Frame> {
        let frame = |function: &&str| Frame {
            function: Some((*function).to_owned()),
            ..Frame::default()
        };
        functions.iter().map(frame).collect()
    }

    #[test]
    fn a_condition_or_a_queue_is_no_lock() {
        let park = "java.util.concurrent.locks.LockSupport.park";
        let lock = "java.util.concurrent.locks.ReentrantLock.lock";
        assert!(is_for_lock(&stack(&[park, lock, "Shop.buy"])));
        let read = "java.util.concurrent.locks.ReentrantReadWriteLock$ReadLock.lockInterruptibly";
        assert!(is_for_lock(&stack(&[park, read])));
        assert!(is_for_lock(&stack(&[
            "ObjectMonitor::enter(JavaThread*)",
            "Shop.buy"
        ])));
        let awaits = "java.util.concurrent.locks.AbstractQueuedSynchronizer$ConditionObject.await";
        let take = "java.util.concurrent.LinkedBlockingQueue.take";
        assert!(!is_for_lock(&stack(&[park, awaits, take])));
        assert!(!is_for_lock(&stack(&["my.own.locks.Padlock.lock"])));
        assert!(!is_for_lock(&[]));
    }
}
