//! `unknown`: stuck, and the facts do not prove why. Says what is known and how to learn more.

use super::{Answer, Case, Group, Rule, Telling, Words, words, yes};
use crate::model::verdict::{Confidence, Lesson, Severity, Verdict};

pub struct Unknown;

impl Rule for Unknown {
    fn verdict(&self) -> Verdict {
        Verdict::Unknown
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let history = case.socket.history;
        let telling = if history.eof.is_some() {
            Telling::Eof
        } else if history.used.is_some() {
            Telling::LastUsed
        } else if history.opened.is_some() {
            Telling::Opened
        } else {
            Telling::Nothing
        };
        yes(Confidence::Low, telling)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Suspect
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let mut evidence = vec![format!("Recv-Q is {}", words::recv_q(group))];
        let Some(case) = group.oldest() else {
            return Words::default();
        };
        if let Some(touch) = case.last_touch() {
            evidence.push(format!(
                "the last thing done to the oldest was {}{}, by pid {} thread {}",
                words::deed(&touch),
                words::within(group),
                touch.pid,
                touch.tid
            ));
        } else {
            evidence
                .push("no system call on them was seen: they are older than the tracer".to_owned());
        }
        if let Some(events) = case.epoll_events() {
            evidence.push(format!(
                "an epoll set watches them (events {events:#x}), yet nobody reads"
            ));
        }
        if case.was_passed_on() {
            evidence.push(
                "the process opened one connection for each of them and has ended its side of that of \
                 the oldest (FIN_WAIT): it may only wait for the peer there to close"
                    .to_owned(),
            );
        }
        let writers = case.threads_blocked_writing();
        if writers > 0 {
            evidence.push(format!(
                "{writers} threads of the process are blocked in a write: they may be the ones that \
                 should serve these"
            ));
        }
        let last = case
            .socket
            .history
            .eof
            .or(case.socket.history.used)
            .or(case.socket.history.opened);
        if let Some(thread) = case.still_at_it(last) {
            evidence.push(format!(
                "thread {} is still in the function that touched the oldest one last, in {}",
                thread.tid,
                thread.syscall.as_deref().unwrap_or("user code")
            ));
        }
        evidence.extend(words::age_evidence(group));
        let advice = if case.last_touch().is_some() {
            "Look at what the process's threads do now (below) and at the function named here."
        } else {
            "Keep `sockleak watch` running while new ones appear: it then sees who opens, reads and \
             forgets them, which cannot be learned afterwards."
        };
        Words {
            summary: format!(
                "{} are stuck; what was seen does not prove why",
                words::sockets(group.count())
            ),
            evidence,
            advice: format!("{advice} {}", words::NOT_KEEPALIVE),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            happened: "The connection is stuck, and what was seen does not prove why. Mostly it is \
                       older than the tracer, so that nobody saw who opened, read or forgot it.",
            proof: "Nothing: this is the answer when no other is proven. A guess would be worse.",
            blamed: "the function that touched the connection last, where one was seen",
            remedy: "Keep `sockleak watch` running while new ones appear, and look at what the \
                       process's threads do.",
        }
    }
}
