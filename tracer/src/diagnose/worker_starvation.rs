//! `worker-starvation`: accepted, then queued behind workers that are all stuck. Proof: the request lies
//! unread, nobody watches the descriptor, and every thread of a pool of the process is blocked in work:
//! mostly in a write to a client that has stopped reading.

use super::{Answer, EvidenceSource, Explanation, Group, Rule, SocketView, explanation, pool, yes};
use crate::{
    model::{
        endpoint::Endpoint,
        input::Thread,
        report::Direction,
        verdict::{Confidence, Severity, Verdict, VerdictDoc},
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

    fn check(&self, view: &SocketView<'_>) -> Answer {
        let history = view.socket.history;
        let unused = history.used.is_none() && history.eof.is_none();
        // The FIN counts one byte: a request lies before it.
        let unread = view.socket.recv_q > 1;
        let Some((_, pool)) = view.starving_pool() else {
            return Answer::No;
        };
        if view.direction() != Some(Direction::Accepted) || !unused || !unread {
            return Answer::No;
        }
        if view.epoll_events().is_some() {
            return Answer::No;
        }
        let sure = view.whole_life_seen()
            && view.sees_reads()
            && view.threads_known()
            && view.epoll_known()
            && pool.blocked.len() == pool.size;
        yes(
            if sure {
                Confidence::High
            } else {
                Confidence::Medium
            },
            EvidenceSource::Pool,
        )
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Explanation {
        let Some((pid, view, pool)) = group
            .oldest()
            .and_then(|view| view.starving_pool().map(|(pid, pool)| (pid, view, pool)))
        else {
            return Explanation::default();
        };
        let calls = call(pool.blocked.first().copied());
        let mut evidence = vec![format!(
            "{} of {} threads of the pool {} {} blocked in {calls}{}",
            pool.blocked.len(),
            pool.size,
            called(&pool.stem),
            explanation::agree(pool.blocked.len(), "is", "are"),
            explanation::within(group)
        )];
        let shown = pool.blocked.iter().take(MAX_SHOWN);
        evidence.extend(shown.map(|thread| one(view.tracker, thread, group.now)));
        if pool.blocked.len() > MAX_SHOWN {
            evidence.push(format!("and {} more", pool.blocked.len() - MAX_SHOWN));
        }
        let since = pool.blocked.iter().filter_map(|thread| thread.since).max();
        if let Some(since) = since {
            let accepted = view.context.accepted_since(pid, since);
            if accepted > 0 {
                evidence.push(format!(
                    "the program goes on accepting: {} still open came in since the last of them was \
                     blocked",
                    explanation::sockets(accepted)
                ));
            }
        }
        evidence.push(format!(
            "the stuck {} never read: Recv-Q is {}, the request and the FIN (one byte)",
            explanation::agree(group.count(), "one was", "ones were"),
            explanation::recv_q(group)
        ));
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} for worker threads that are all stuck: {} of {} threads of the pool {} {} \
                 blocked in {calls}{}",
                explanation::sockets(group.count()),
                explanation::agree(group.count(), "waits", "wait"),
                pool.blocked.len(),
                pool.size,
                called(&pool.stem),
                explanation::agree(pool.blocked.len(), "is", "are"),
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "Free the workers: put a time limit on what they are blocked in (for a write: a send \
                 timeout, or close clients that stop reading), and stop accepting when all workers are \
                 busy. More threads only take longer to get stuck. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
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
        format!(
            " for at least {}",
            explanation::span(now.saturating_sub(since))
        )
    });
    let fd = thread
        .fd
        .map_or_else(String::new, |fd| format!(" on fd {fd}"));
    let whom = pool::connection(tracker, thread).map_or_else(String::new, |connection| {
        let remote = Endpoint(connection.endpoints.remote);
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
