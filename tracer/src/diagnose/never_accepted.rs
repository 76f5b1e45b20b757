//! `never-accepted`: dead in the accept queue. Proof: no `struct socket` and no inode, which `accept()`
//! gives; the listener is known by namespace and port.

use super::{Answer, Case, Group, Rule, Telling, Words, words, yes};
use crate::model::verdict::{Confidence, Lesson, Severity, Verdict};

pub struct NeverAccepted;

impl Rule for NeverAccepted {
    fn verdict(&self) -> Verdict {
        Verdict::NeverAccepted
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        if !case.is_unaccepted() {
            return Answer::No;
        }
        let confidence = if case.listener().is_some() {
            Confidence::High
        } else {
            Confidence::Medium
        };
        yes(confidence, Telling::Holders)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let listener = group.oldest().and_then(Case::listener);
        let place = match (listener, group.local_port()) {
            (Some(listener), _) => format!("the listener on {}", listener.ends.local),
            (None, Some(port)) => format!("port {port}, whose listener was not found"),
            (None, None) => "a listener that was not found".to_owned(),
        };
        let mut evidence = vec![format!(
            "{} have no inode: accept() never returned them",
            words::sockets(group.count())
        )];
        if let Some(listener) = listener {
            evidence.push(format!(
                "the accept queue of {} holds {} (its backlog is {})",
                listener.ends.local,
                words::sockets(listener.waiting as usize),
                listener.backlog
            ));
        }
        evidence.push(format!(
            "their Recv-Q is {}: requests nobody will answer, the FIN counting one byte",
            words::recv_q(group)
        ));
        evidence.extend(words::age_evidence(group));
        Words {
            summary: format!(
                "{} died waiting for accept() on {place}{}",
                words::sockets(group.count()),
                group
                    .function()
                    .map(|name| format!("; the thread that should accept is in {name}"))
                    .unwrap_or_default()
            ),
            evidence,
            advice: "Find out why the program stopped calling accept(): see what its threads are \
                     doing below. A larger backlog only lets more connections die. Accept in a \
                     thread that does nothing else, or bound the work done between two accepts."
                .to_owned(),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            happened: "A client's connection is completed by the kernel before the program knows of \
                       it: it waits in the accept queue. The program does not call accept(), so the \
                       client gives up and hangs up, and the connection stays, dead, in the queue.",
            proof: "The socket has no inode, which only accept() gives it, and belongs to a \
                       listener whose process is known.",
            blamed: "what the thread that should accept is doing now",
            remedy: "Find out what keeps that thread (a lock, a slow request, a full pool). \
                       Accept in a thread that does nothing else. A larger backlog only lets more \
                       connections die.",
        }
    }
}
