//! `owner-blocked`: one thread serves this socket and is stuck elsewhere: a lock, another server, the
//! disk, or a long computation. Proof: that thread touched this socket last and no other since, and it
//! is still in that function, blocked; or always on the CPU when it was looked at.

use super::{Answer, Case, Group, Rule, Telling, Words, words, worker_starvation, yes};
use crate::model::verdict::{Confidence, Lesson, Severity, Verdict};

pub struct OwnerBlocked;

impl Rule for OwnerBlocked {
    fn verdict(&self) -> Verdict {
        Verdict::OwnerBlocked
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let Some(owner) = case.owner() else {
            return match case.owner_may_be_busy() {
                Some(at) => Answer::AskAgainAt(at),
                None => Answer::No,
            };
        };
        let named = case
            .last_touch()
            .is_some_and(|touch| !case.is_nameless(touch));
        let sure = owner.runs_since.is_none()
            && named
            && case.still_at_it(case.last_touch()).is_some()
            && case.whole_life_seen()
            && case.scene.knows(case.socket.cookie)
            && case.nothing_lost();
        yes(
            if sure {
                Confidence::High
            } else {
                Confidence::Medium
            },
            Telling::Owner,
        )
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let Some((case, owner)) = group
            .oldest()
            .and_then(|case| case.owner().map(|owner| (case, owner)))
        else {
            return Words::default();
        };
        let mut evidence = Vec::new();
        if let Some(touch) = case.last_touch() {
            evidence.push(format!(
                "thread {} was the last to touch the oldest: {}, {} ago",
                touch.tid,
                words::deed(&touch),
                words::span(group.now.saturating_sub(touch.at))
            ));
        }
        let doing = if let Some(since) = owner.runs_since {
            evidence.push(format!(
                "since then it was on the CPU whenever it was looked at, for {}",
                words::span(group.now.saturating_sub(since))
            ));
            "computes".to_owned()
        } else {
            evidence.push(format!(
                "it is blocked now: {}",
                worker_starvation::one(case.tracker, owner.thread, group.now)
            ));
            format!("is blocked in {}", in_what(owner.thread.syscall.as_deref()))
        };
        evidence.push(format!("their Recv-Q is {}", words::recv_q(group)));
        evidence.extend(words::age_evidence(group));
        Words {
            summary: format!(
                "{} wait for the thread that serves them, which {doing}{}",
                words::sockets(group.count()),
                words::within(group)
            ),
            evidence,
            advice: format!(
                "Look at what the thread does (below): put a time limit on the lock, request or \
                 computation it is in, or hand such work to another thread. The connections are closed \
                 when it goes on; they are lost if it never does. {}",
                words::NOT_KEEPALIVE
            ),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
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
