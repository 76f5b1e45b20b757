//! What runtimes are known by: the frames in which their workers wait for work, and those below which they do
//! it. Data; by frames, never by the names of threads.

use foldhash::HashSet;

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

/// Below these a thread serves the one connection that it was started for.
const STARTED_FOR: &[(&str, &str)] = &[
    ("process_request_thread", "/socketserver.py"),
    ("block in start_thread", "/webrick/server.rb"),
];

/// Python's and Ruby's names have no module: their file says whose they are.
const IDLE_IN: &[(&str, &str)] = &[
    ("_worker", "/concurrent/futures/thread.py"),
    ("run", "/gunicorn/workers/gthread.py"),
];

/// In these jobs are taken, and results as well.
const QUEUES: &[(&str, &str)] = &[("get", "/queue.py")];

fn is_named(frame: &Frame, names: &[&str]) -> bool {
    let function = frame.function.as_deref().unwrap_or_default();
    let function = function.trim_start_matches('<');
    names.iter().any(|name| function.starts_with(name))
}

/// By the function, with or without the name of its class, and the end of its file.
fn is_of_file(frame: &Frame, names: &[(&str, &str)]) -> bool {
    let function = frame.function.as_deref().unwrap_or_default();
    let last = function.rsplit('.').next();
    let file = frame.file.as_deref().unwrap_or_default();
    names
        .iter()
        .any(|(name, end)| last == Some(name) && file.ends_with(end))
}

/// In these a thread lets time pass where the kernel sees it wait for a condition.
const SLEEPS: &[&str] = &[
    "java.lang.Thread.sleep",
    "java.util.concurrent.TimeUnit.sleep",
];

/// By the known frames of its runtime it sleeps.
pub fn sleeps(thread: &Thread) -> bool {
    thread.stack.iter().any(|frame| is_named(frame, SLEEPS))
}

/// By the known frames of its runtime it waits for work.
pub fn is_idle(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let idle = |frame: &Frame| is_named(frame, IDLE) || is_of_file(frame, IDLE_IN);
    let place = thread.stack.iter().position(idle);
    place.is_some_and(|place| blamer(thread.stack.get(..place).unwrap_or_default()).is_none())
}

/// It waits for a job in a loop of the program's own: the only function of the program calls the queue. With more of them
/// it may wait for the result of a job that it has given away.
pub fn takes_jobs(thread: &Thread, blamer: Blamer<'_>) -> bool {
    let mut frames = thread.stack.iter();
    let Some(place) = frames.position(|frame| is_of_file(frame, QUEUES)) else {
        return false;
    };
    let is_own = |frame: &Frame| blamer(std::slice::from_ref(frame)).is_some();
    let own = frames.filter(|frame| is_own(frame)).count();
    let inside = thread.stack.get(..place).unwrap_or_default();
    own == 1 && blamer(inside).is_none() && !is_started_for_one(thread, blamer)
}

/// By those it does a piece of work that is the program's own.
pub fn is_at_work(thread: &Thread, blamer: Blamer<'_>) -> bool {
    is_below(thread, blamer, |frame| is_named(frame, WORKS))
}

/// It has come to the program's code through more files than a thread begins in and one that wraps it: the worker of a server
/// at a request, which other code has read and routed.
pub fn is_called_by_server(thread: &Thread, blamer: Blamer<'_>) -> bool {
    const BEGINS_IN: usize = 2;
    let Some(own) = blamer(&thread.stack).and_then(|at| thread.stack.get(at)) else {
        return false;
    };
    let mut files = HashSet::default();
    for frame in thread.stack.iter().rev().filter(|frame| frame.is_managed()) {
        let one = std::slice::from_ref(frame);
        // Of a library's function and the program's, the program's is blamed.
        let is_own = blamer(one).is_some() && blamer(&[frame.clone(), own.clone()]) != Some(1);
        if is_own {
            return files.len() > BEGINS_IN;
        }
        files.extend(frame.file.as_deref());
    }
    false
}

/// By the frames of its server it serves the one connection that it was started for.
pub fn is_started_for_one(thread: &Thread, blamer: Blamer<'_>) -> bool {
    is_below(thread, blamer, |frame| is_of_file(frame, STARTED_FOR))
}

fn is_below(thread: &Thread, blamer: Blamer<'_>, serves: impl Fn(&Frame) -> bool) -> bool {
    let place = thread.stack.iter().position(serves);
    place.is_some_and(|place| blamer(thread.stack.get(..place).unwrap_or_default()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::tests::world::thread;
    use crate::model::stack::PYTHON;

    fn python(functions: &[(&str, &str)]) -> Thread {
        let frame = |(function, file): &(&str, &str)| Frame {
            module: Some(PYTHON.to_owned()),
            function: Some((*function).to_owned()),
            file: Some((*file).to_owned()),
            ..Frame::default()
        };
        thread(1, "futex", functions.iter().map(frame).collect())
    }

    fn own(frames: &[Frame]) -> Option<usize> {
        let is_own = |frame: &Frame| frame.file.as_deref() == Some("/srv/app.py");
        frames.iter().position(is_own)
    }

    #[test]
    fn a_queue_brings_jobs_to_a_loop_and_results_to_others() {
        let get = ("Queue.get", "/usr/lib/python3.11/queue.py");
        let run = ("Thread.run", "/usr/lib/python3.11/threading.py");
        let app = |function| (function, "/srv/app.py");
        assert!(takes_jobs(&python(&[get, app("worker"), run]), &own));
        let before_3_11 = ("get", "/usr/lib/python3.9/queue.py");
        assert!(takes_jobs(
            &python(&[before_3_11, app("worker"), run]),
            &own
        ));
        let asks = [get, app("compute"), app("handle"), run];
        assert!(!takes_jobs(&python(&asks), &own));
        let serves = (
            "ThreadingMixIn.process_request_thread",
            "/usr/lib/python3.11/socketserver.py",
        );
        let request = python(&[get, app("Handler.handle"), serves, run]);
        assert!(!takes_jobs(&request, &own));
        assert!(is_started_for_one(&request, &own));
        assert!(!is_started_for_one(&python(&[serves, run]), &own));
        assert!(!is_started_for_one(&python(&asks), &own));
    }
}
