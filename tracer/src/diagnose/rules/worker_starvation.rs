//! `worker-starvation`: accepted, then queued behind workers that are all stuck. Proof: nobody who could serve it
//! has touched it, nobody watches its descriptor, and every thread of a pool of the process is busy, whatever
//! with: a lock, another server, a client that does not read or says nothing.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::{
    diagnose::{
        context::{
            activations::{Activation, Over},
            pools::Pool,
            waits::{self, Waits, WaitsFor},
        },
        explanation,
    },
    model::{
        actor::Actor,
        input::Thread,
        report::Direction,
        socket::SocketOperation,
        verdict::{Confidence, Severity, Verdict, VerdictDoc},
    },
};

pub struct WorkerStarvation;

/// Threads that are described one by one.
const MAX_SHOWN: usize = 8;

impl Rule for WorkerStarvation {
    fn verdict(&self) -> Verdict {
        Verdict::WorkerStarvation
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let Some(pool) = view.starving_pool() else {
            return Answer::No;
        };
        if view.direction() != Some(Direction::Accepted) || !is_queued(view, pool) {
            return Answer::No;
        }
        let looks = looks(view, pool);
        let proof = Proof::earned(looks, EvidenceSource::Pool, Evidence::Pool(pool));
        Answer::Yes(proof.at_most(match (pool.goes_on, pool.sure) {
            (true, _) => Confidence::Low,
            (false, true) => Confidence::High,
            (false, false) => Confidence::Medium,
        }))
    }

    fn severity(&self, group: &Group<'_>) -> Severity {
        let pool = group.oldest().and_then(SocketView::starving_pool);
        match pool {
            Some(pool) if pool.goes_on => Severity::Suspect,
            _ => Severity::Leak,
        }
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let (Evidence::Pool(pool), Some(view)) = (evidence, group.oldest()) else {
            return Explanation::default();
        };
        let waits = &view.context.waits;
        let busy = pool.busy.len();
        let what =
            pool.busy
                .first()
                .map_or_else(String::new, |thread| match waits.computes(thread) {
                    Some(computes) => format!("; one of them {computes}"),
                    None => format!(
                        "; the longest waits for {}{}",
                        waits.of(thread).words(),
                        who_asks(waits, thread, pool)
                    ),
                });
        let mut evidence = vec![format!(
            "{busy} of {} threads of the pool {} {} busy{}{what}",
            pool.size,
            called(&pool.stem),
            explanation::agree(busy, "is", "are"),
            explanation::within(group)
        )];
        let shown = pool.busy.iter().take(MAX_SHOWN);
        evidence.extend(shown.map(|thread| waits::one(waits, thread, group.now)));
        if busy > MAX_SHOWN {
            evidence.push(format!("and {} more", busy - MAX_SHOWN));
        }
        let blocked = pool.busy.iter().filter_map(|thread| thread.since).max();
        if let Some(since) = blocked {
            let accepted = view.context.threads.accepted_since(pool.pid, since);
            if accepted > 0 {
                evidence.push(format!(
                    "the program goes on accepting: {} still open came in since the last of them was \
                     blocked",
                    explanation::sockets(accepted)
                ));
            }
        }
        if pool.handed_since.is_some() {
            evidence.push(format!(
                "each of the {busy} began that right after another thread of the program had read a request of one of these"
            ));
        }
        let again = explanation::how_many(group, |view| is_given_back(view, pool));
        let first = group.count() - again;
        if first > 0 {
            evidence.push(format!(
                "none of the workers has touched {first} of the {}: Recv-Q is {} (one that the program dropped, for its \
                 queue was full, would look the same)",
                group.count(),
                explanation::recv_q(group)
            ));
        }
        if again > 0 {
            evidence.push(format!(
                "on {again} of the {} one of the workers has answered before, and has gone on since: given back for \
                 more requests, {} is most likely in the queue again",
                group.count(),
                explanation::agree(again, "it", "each")
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        let limit = pool
            .busy
            .first()
            .map(|thread| waits.of(thread).remedy())
            .unwrap_or_default();
        Explanation {
            summary: format!(
                "{} {} for worker threads that are all {}: {busy} of {} threads of the pool {} {} \
                 busy{}{what}",
                explanation::sockets(group.count()),
                explanation::agree(group.count(), "waits", "wait"),
                if pool.goes_on {
                    "busy, and go on"
                } else {
                    "stuck"
                },
                pool.size,
                called(&pool.stem),
                explanation::agree(busy, "is", "are"),
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "{limit} Stop accepting when all workers are busy. More threads only take longer to get \
                 stuck. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "One part of the program accepts connections and puts them in a queue; a pool of \
                       worker threads serves the queue. All workers are stuck, each with a connection \
                       of its own, so nobody ever serves the queued ones. Their clients give up and hang \
                       up, which nobody notices either.",
            proof: "No worker has touched the connection, no epoll set watches it, and every thread of a \
                    pool of the program is busy: it waits for a server it asked, for a client that does \
                    not read or sends nothing, for a lock inside the call that used a connection last, for \
                    the disk; or samples show that it computes inside of that call; or its frames show that its \
                    runtime, or the code of a server, has called the program for a piece of work.",
            blamed: "the function in which the workers are stuck",
            remedy: "Put a time limit on what blocks them: a send timeout, a deadline on downstream \
                     requests. Bound the queue: stop accepting when all workers are busy.",
        }
    }
}

/// Who waits for a lock may wait for those of its pool that wait for a server.
fn who_asks(waits: &Waits<'_>, longest: &Thread, pool: &Pool<'_>) -> String {
    if !matches!(waits.of(longest), WaitsFor::Lock(_) | WaitsFor::Futex) {
        return String::new();
    }
    let asks = |waits: WaitsFor<'_>| matches!(waits, WaitsFor::Upstream(_));
    let busy = pool.busy.iter().map(|thread| waits.of(thread));
    let asking: Vec<_> = busy.filter(|waits| asks(*waits)).collect();
    asking.first().map_or_else(String::new, |first| {
        format!(
            ", and {} of them {} for {}",
            asking.len(),
            explanation::agree(asking.len(), "waits", "wait"),
            first.words()
        )
    })
}

/// Untouched with a request in it (the FIN counts one byte), or touched only by whoever hands connections or requests over.
fn is_queued(view: &SocketView<'_>, pool: &Pool<'_>) -> bool {
    if view.watch().is_some() || view.is_polled() {
        return false;
    }
    let history = *view.socket.history;
    let of_pool = |actor: Actor| pool.busy.iter().any(|thread| thread.actor() == actor);
    if let Some(since) = pool.handed_since {
        let read = history
            .used
            .filter(|used| used.kind == SocketOperation::Recv && used.at >= since);
        return history.eof.is_none() && read.is_some_and(|read| !of_pool(read.actor()));
    }
    if view.is_unused() {
        return view.socket.recv_q > 1;
    }
    let used = [history.used, history.eof].into_iter().flatten();
    let by_acceptor = |actor: Actor| view.context.threads.has_accepted(actor);
    let handed_over = used
        .into_iter()
        .all(|operation| by_acceptor(operation.actor()) && !of_pool(operation.actor()));
    handed_over || is_given_back(view, pool)
}

/// A worker has answered on it before the client hung up, and has turned to others: a connection that is kept for more
/// requests waits in its server's event loop, which has taken it out for the workers if it was there.
fn is_given_back(view: &SocketView<'_>, pool: &Pool<'_>) -> bool {
    let last = view.last_operation();
    let answered = last.is_some_and(|last| {
        last.kind == SocketOperation::Send
            && last.at < view.socket.since
            && pool
                .busy
                .iter()
                .any(|thread| thread.actor() == last.actor())
    });
    let has_loop = |pid: &u32| view.context.some_loop_waits(*pid);
    answered
        && view.socket.recv_q > 0
        && matches!(view.activation(), Activation::Over(Over::WentOn))
        && view.holder_pids().iter().any(has_loop)
}

fn looks(view: &SocketView<'_>, pool: &Pool<'_>) -> Looks {
    Looks::default()
        .look(
            view.whole_life_seen() && view.sees_reads(),
            "",
            "its opening was not seen, or reads are not observed on this host",
        )
        .look(
            view.is_unused() || is_given_back(view, pool),
            "",
            "the thread that accepts has read it: whether it was handed to this pool is not known",
        )
        .doubt(
            is_given_back(view, pool),
            "a worker has answered on it before: that it was given back and lies in the queue again is likely, not proven",
        )
        .doubt(
            pool.handed_since.is_some(),
            "another thread has read the requests: that this pool works on them is told by the order of times alone",
        )
        .doubt(
            pool.goes_on,
            "a worker has touched a client, or all have begun to wait, less than `--min-age` ago: they may be slow, not stuck",
        )
        .look(
            view.threads_known() && pool.busy.len() == pool.size,
            "no worker of the pool is idle",
            "not all threads could be looked at",
        )
        .look(
            view.epoll_known(),
            "no epoll set holds it",
            "not all epoll sets could be looked at",
        )
}

/// `pool-1-thread-N`
pub fn called(stem: &str) -> String {
    if stem.ends_with(|c: char| !c.is_alphanumeric()) {
        format!("{stem}N")
    } else {
        stem.to_owned()
    }
}
