//! Frames by which runtimes show that a futex is a lock, or brings the result of work of others: nothing but that
//! ends the wait, and it brings no work. Data; a condition or a queue is none of them.

use super::{Blamer, idle};
use crate::model::{
    input::Thread,
    stack::{Frame, JAVA, PYTHON},
};

/// What waits in these waits for a lock: the entry of a Java monitor, and the locks of java.util.concurrent.
fn takes_lock(frame: &Frame) -> bool {
    const LOCKS: &str = "java.util.concurrent.locks.";
    const TAKES: [&str; 2] = [".lock", ".lockInterruptibly"];
    let function = frame.function.as_deref().unwrap_or_default();
    function.starts_with("ObjectMonitor::enter")
        || function.starts_with(LOCKS) && TAKES.iter().any(|end| function.ends_with(end))
}

/// A permit, or the result of another task. An idle worker may wait for a permit too: only inside of a piece of work.
fn takes_result(frame: &Frame) -> bool {
    const RESULTS: [&str; 5] = [
        "java.util.concurrent.Semaphore.acquire",
        "java.util.concurrent.CountDownLatch.await",
        "java.util.concurrent.FutureTask.get",
        "java.util.concurrent.CompletableFuture.get",
        "java.util.concurrent.CompletableFuture.join",
    ];
    let function = frame.function.as_deref().unwrap_or_default();
    RESULTS.iter().any(|result| function.starts_with(result))
}

pub fn is_for_lock(stack: &[Frame]) -> bool {
    stack.iter().any(takes_lock)
}

/// Inside of a piece of work that its runtime gave it, a thread waits for what does not bring another one.
pub fn is_kept(thread: &Thread, blamer: Blamer<'_>) -> bool {
    idle::is_at_work(thread, blamer)
        && (is_locked_out(thread, blamer) || thread.stack.iter().any(takes_result))
}

/// By the frames of its runtime it waits for a lock: in its own code at the entry of a monitor, or in a call
/// that takes one. All other waiting may be for a job, or for a while.
pub fn is_locked_out(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let is_java = |frame: &Frame| frame.module.as_deref() == Some(JAVA);
    let innermost = thread.stack.iter().position(is_java);
    let at_monitor = innermost.is_some() && blamer(&thread.stack) == innermost;
    at_monitor || is_for_lock(&thread.stack)
}

/// In a function of the program that takes a lock itself: the queues, conditions and events of Python's library, which
/// may bring work, are functions of their own.
pub fn is_bare(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let is_python = |frame: &Frame| frame.module.as_deref() == Some(PYTHON);
    let of_library = |frame: &Frame| {
        frame
            .module
            .as_deref()
            .is_some_and(|m| m.starts_with("libc."))
    };
    let Some(innermost) = thread.stack.iter().position(is_python) else {
        return false;
    };
    let inside = thread.stack.get(..innermost).unwrap_or_default();
    !inside.is_empty() && inside.iter().all(of_library) && blamer(&thread.stack) == Some(innermost)
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

    #[test]
    fn a_worker_is_kept_by_what_brings_no_other_work() {
        let own = |frames: &[Frame]| {
            let is_own = |frame: &Frame| {
                let function = frame.function.as_deref();
                function.is_some_and(|function| function.starts_with("Shop."))
            };
            frames.iter().position(is_own)
        };
        let kept = |functions: &[&str]| {
            let mut frames = stack(functions);
            for frame in &mut frames {
                frame.module = Some(JAVA.to_owned());
            }
            let thread = Thread {
                stack: frames,
                ..crate::diagnose::tests::world::thread(1, "futex", Vec::new())
            };
            is_kept(&thread, &own)
        };
        let park = "java.util.concurrent.locks.LockSupport.park";
        let acquire = "java.util.concurrent.Semaphore.acquire";
        let works = "java.util.concurrent.ThreadPoolExecutor.runWorker";
        assert!(kept(&[park, acquire, "Shop.borrow", works]));
        // At the entry of a monitor.
        assert!(kept(&["Shop.borrow", works]));
        // A loop of its own inside of a pool's thread may wait for the next piece of work.
        let take = "java.util.concurrent.LinkedBlockingQueue.take";
        assert!(!kept(&[park, take, "Shop.loop", works]));
        assert!(!kept(&[park, acquire, "Shop.loop", "java.lang.Thread.run"]));
    }
}
