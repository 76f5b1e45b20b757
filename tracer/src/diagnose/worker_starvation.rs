//! `worker-starvation`: accepted, then queued behind workers that are all stuck. Proof: the request lies
//! unread, nobody watches the descriptor, and every thread of a pool of the process is blocked in work:
//! mostly in a write to a client that has stopped reading.

use super::{Answer, Case, Group, Rule, Telling, Words, pool, words, yes};
use crate::{
    model::{
        endpoint::Endpoint,
        input::Thread,
        report::Direction,
        verdict::{Confidence, Lesson, Severity, Verdict},
    },
    track::Tracker,
};

pub struct WorkerStarvation;

/// Threads that are described one by one.
const MAX_SHOWN: usize = 8;

impl Rule for WorkerStarvation {
    fn verdict(&self) -> Verdict {
        Verdict::WorkerStarvation
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let history = case.socket.history;
        let untouched = history.used.is_none() && history.eof.is_none();
        // The FIN counts one byte: a request lies before it.
        let unread = case.socket.recv_q > 1;
        let Some((_, pool)) = case.starving_pool() else {
            return Answer::No;
        };
        if case.direction() != Some(Direction::Accepted) || !untouched || !unread {
            return Answer::No;
        }
        if case.epoll_events().is_some() {
            return Answer::No;
        }
        let sure = case.whole_life_seen()
            && case.sees_reads()
            && case.threads_known()
            && case.epoll_known()
            && pool.blocked.len() == pool.size;
        yes(
            if sure {
                Confidence::High
            } else {
                Confidence::Medium
            },
            Telling::Pool,
        )
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let Some((pid, case, pool)) = group
            .oldest()
            .and_then(|case| case.starving_pool().map(|(pid, pool)| (pid, case, pool)))
        else {
            return Words::default();
        };
        let calls = call(pool.blocked.first().copied());
        let mut evidence = vec![format!(
            "{} of {} threads of the pool {} are blocked in {calls}{}",
            pool.blocked.len(),
            pool.size,
            called(&pool.stem),
            words::within(group)
        )];
        let shown = pool.blocked.iter().take(MAX_SHOWN);
        evidence.extend(shown.map(|thread| one(case.tracker, thread, group.now)));
        if pool.blocked.len() > MAX_SHOWN {
            evidence.push(format!("and {} more", pool.blocked.len() - MAX_SHOWN));
        }
        let since = pool.blocked.iter().filter_map(|thread| thread.since).max();
        if let Some(since) = since {
            let accepted = case.scene.accepted_since(pid, since);
            if accepted > 0 {
                evidence.push(format!(
                    "the program goes on accepting: {} still open came in since the last of them was \
                     blocked",
                    words::sockets(accepted)
                ));
            }
        }
        evidence.push(format!(
            "the stuck ones were never read: Recv-Q is {}, their requests and the FIN (one byte)",
            words::recv_q(group)
        ));
        evidence.extend(words::age_evidence(group));
        Words {
            summary: format!(
                "{} wait for worker threads that are all stuck: {} of {} threads of the pool {} are \
                 blocked in {calls}{}",
                words::sockets(group.count()),
                pool.blocked.len(),
                pool.size,
                called(&pool.stem),
                words::within(group)
            ),
            evidence,
            advice: format!(
                "Free the workers: put a time limit on what they are blocked in (for a write: a send \
                 timeout, or close clients that stop reading), and stop accepting when all workers are \
                 busy. More threads only take longer to get stuck. {}",
                words::NOT_KEEPALIVE
            ),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            happened: "One part of the program accepts connections and puts them in a queue; a pool of \
                       worker threads serves the queue. All workers are blocked, each with a connection \
                       of its own, so nobody ever reads the queued ones. Their clients give up and hang \
                       up, which nobody notices either.",
            proof: "The request lies unread in the socket (Recv-Q), no epoll set watches it, and every \
                    thread of a pool (threads whose names differ by a number) is blocked in work: in a \
                    write to a connection whose Send-Q is full because its client does not read, in a \
                    read from a server the program asked, in a lock inside the function that used a \
                    connection last, in sleep or on disk.",
            blamed: "the function in which the workers are blocked",
            remedy: "Put a time limit on what blocks them: a send timeout, a deadline on downstream \
                     requests. Bound the queue: stop accepting when all workers are busy.",
        }
    }
}

/// `pool-1-thread-N`
fn called(stem: &str) -> String {
    if stem.ends_with(|c: char| !c.is_alphanumeric()) {
        format!("{stem}N")
    } else {
        stem.to_owned()
    }
}

fn call(thread: Option<&Thread>) -> String {
    let name = thread.and_then(|thread| thread.syscall.as_deref());
    name.map_or_else(|| "the kernel".to_owned(), |name| format!("{name}()"))
}

/// A thread, since when, and whom it waits for.
pub fn one(tracker: &Tracker, thread: &Thread, now: u64) -> String {
    let name = thread.name.as_deref().unwrap_or(&thread.comm);
    let since = thread.since.map_or_else(String::new, |since| {
        format!(" for at least {}", words::span(now.saturating_sub(since)))
    });
    let fd = thread
        .fd
        .map_or_else(String::new, |fd| format!(" on fd {fd}"));
    let whom = pool::connection(tracker, thread).map_or_else(String::new, |connection| {
        let remote = Endpoint(connection.ends.remote);
        match connection.send_q {
            0 => format!(" with {remote}"),
            bytes => format!(" to {remote}, whose Send-Q holds {bytes} bytes"),
        }
    });
    format!(
        "{name} (tid {}): {}{fd}{whom}{since}",
        thread.tid,
        call(Some(thread))
    )
}
