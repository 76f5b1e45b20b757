//! `owner-blocked`: one thread serves this socket and is stuck elsewhere: a lock, another server, the
//! disk, or a long computation. Proof: that thread touched this socket last and no other since, and it
//! is still in that function, blocked; or always on the CPU when it was looked at.

use super::{
    Answer, EvidenceSource, Explanation, Group, Rule, SocketView, explanation, worker_starvation,
    yes,
};
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct OwnerBlocked;

impl Rule for OwnerBlocked {
    fn verdict(&self) -> Verdict {
        Verdict::OwnerBlocked
    }

    fn check(&self, view: &SocketView<'_>) -> Answer {
        let Some(serving_thread) = view.serving_thread() else {
            return match view.serving_thread_may_be_busy() {
                Some(at) => Answer::AskAgainAt(at),
                None => Answer::No,
            };
        };
        let named = view
            .last_operation()
            .is_some_and(|operation| !view.is_nameless(operation));
        let sure = serving_thread.runs_since.is_none()
            && named
            && view.still_at_it(view.last_operation()).is_some()
            && view.whole_life_seen()
            && view.context.knows(view.socket.cookie)
            && view.nothing_lost();
        yes(
            if sure {
                Confidence::High
            } else {
                Confidence::Medium
            },
            EvidenceSource::ServingThread,
        )
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let Some((view, serving_thread)) = group.oldest().and_then(|view| {
            view.serving_thread()
                .map(|serving_thread| (view, serving_thread))
        }) else {
            return Explanation::default();
        };
        let mut evidence = Vec::new();
        if let Some(operation) = view.last_operation() {
            evidence.push(format!(
                "thread {} was the last to touch the oldest: {}, {} ago",
                operation.tid,
                explanation::kind(&operation),
                explanation::span(group.now.saturating_sub(operation.at))
            ));
        }
        let doing = if let Some(since) = serving_thread.runs_since {
            evidence.push(format!(
                "since then it was on the CPU whenever it was looked at, for {}",
                explanation::span(group.now.saturating_sub(since))
            ));
            "computes".to_owned()
        } else {
            evidence.push(format!(
                "it is blocked now: {}",
                worker_starvation::one(view.tracker, serving_thread.thread, group.now)
            ));
            format!(
                "is blocked in {}",
                in_what(serving_thread.thread.syscall.as_deref())
            )
        };
        evidence.push(format!(
            "{} Recv-Q is {}",
            n.their,
            explanation::recv_q(group)
        ));
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} for the thread that serves {}, which {doing}{}",
                explanation::sockets(group.count()),
                explanation::agree(group.count(), "waits", "wait"),
                n.them,
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "Look at what the thread does (below): put a time limit on the lock, request or \
                 computation it is in, or hand such work to another thread. The connections are closed \
                 when it goes on; they are lost if it never does. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "A thread was serving the connection and got stuck in something else: it waits for \
                       a lock, for an answer from another server, for the disk, or it computes. Meanwhile \
                       the client hung up. The thread would close the connection if it went on.",
            proof: "The thread that touched the connection last has touched no other since, and is still \
                    inside the same function, blocked in a system call that is not waiting for new work; \
                    or it was on the CPU at every look for at least a second.",
            blamed: "the function in which that thread is now",
            remedy: "Put a time limit on what blocks the thread, or move it off the thread that serves \
                     connections.",
        }
    }
}

/// What a system call means to whoever wrote the program.
fn in_what(syscall: Option<&str>) -> String {
    match syscall {
        Some("futex") => "futex() (a lock, or another thread)".to_owned(),
        Some(name) => format!("{name}()"),
        None => "the kernel".to_owned(),
    }
}
