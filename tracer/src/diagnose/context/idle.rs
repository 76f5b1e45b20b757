//! What runtimes are known by: the frames in which their workers wait for work, and those below which they do
//! it. Data; by frames, never by the names of threads.

use super::Blamer;
use crate::model::{input::Thread, stack::Frame};

/// In these a worker waits for the next piece of work, unless code of the program lies inside.
const IDLE: &[&str] = &[
    // Java's executors, and those of its servers
    "java.util.concurrent.ThreadPoolExecutor.getTask",
    "java.util.concurrent.ForkJoinPool.awaitWork",
    "java.util.concurrent.ScheduledThreadPoolExecutor$DelayedWorkQueue.take",
    "java.util.TimerThread.mainLoop",
    "org.apache.tomcat.util.threads.TaskQueue.take",
    "org.apache.tomcat.util.threads.TaskQueue.poll",
    "org.eclipse.jetty.util.thread.QueuedThreadPool.idleJobPoll",
    "org.eclipse.jetty.util.thread.ReservedThreadExecutor$ReservedThread.reservedWait",
    "org.jboss.threads.EnhancedQueueExecutor$ThreadBody.run",
    "io.netty.channel.nio.NioEventLoop.select",
    "io.netty.channel.epoll.EpollEventLoop.epollWait",
    // Rust
    "tokio::runtime::scheduler::multi_thread::worker::Context::park",
    "tokio::runtime::scheduler::current_thread::Context::park",
    "tokio::runtime::park::",
    "rayon_core::sleep::Sleep::sleep",
    // Go
    "runtime.findRunnable",
    "runtime.findrunnable",
    "runtime.stopm",
    "runtime.sysmon",
    "runtime.templateThread",
    // Python
    "concurrent.futures.thread._worker",
    // Ruby
    "Puma::ThreadPool#wait_until_not_full",
];

/// Below these a worker does a piece of work, and code of the program inside is that work.
const WORKS: &[&str] = &[
    "java.util.concurrent.ThreadPoolExecutor.runWorker",
    "java.util.concurrent.ThreadPoolExecutor$Worker.run",
    "java.util.concurrent.ForkJoinWorkerThread.run",
    "org.apache.tomcat.util.threads.ThreadPoolExecutor.runWorker",
    "org.apache.tomcat.util.threads.TaskThread$WrappingRunnable.run",
    "org.eclipse.jetty.util.thread.QueuedThreadPool.runJob",
    "org.eclipse.jetty.util.thread.QueuedThreadPool$Runner.run",
    "io.netty.util.concurrent.SingleThreadEventExecutor",
    "tokio::runtime::blocking::task::BlockingTask",
    "tokio::runtime::task::raw::poll",
    "concurrent.futures.thread._WorkItem.run",
    "_WorkItem.run",
    // Go: one request of the connection that the goroutine was started for
    "net/http.serverHandler.ServeHTTP",
];

/// Python's names have no module: its file says whose they are.
const FILES: &[(&str, &str)] = &[
    ("_worker", "concurrent/futures/thread.py"),
    ("get", "/queue.py"),
    ("run", "gunicorn/workers/gthread.py"),
];

fn is_named(frame: &Frame, names: &[&str]) -> bool {
    let function = frame.function.as_deref().unwrap_or_default();
    let function = function.trim_start_matches('<');
    names.iter().any(|name| function.starts_with(name))
}

fn is_of_file(frame: &Frame) -> bool {
    let function = frame.function.as_deref().unwrap_or_default();
    let file = frame.file.as_deref().unwrap_or_default();
    FILES
        .iter()
        .any(|(name, end)| function == *name && file.ends_with(end))
}

/// By the known frames of its runtime it waits for work.
pub fn is_idle(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let place = thread
        .stack
        .iter()
        .position(|frame| is_named(frame, IDLE) || is_of_file(frame));
    place.is_some_and(|place| blamer(thread.stack.get(..place).unwrap_or_default()).is_none())
}

/// By those it does a piece of work that is the program's own.
pub fn is_at_work(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let place = thread.stack.iter().position(|frame| is_named(frame, WORKS));
    place.is_some_and(|place| blamer(thread.stack.get(..place).unwrap_or_default()).is_some())
}
