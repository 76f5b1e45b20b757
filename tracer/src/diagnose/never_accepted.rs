//! `never-accepted`: dead in the accept queue. Proof: no `struct socket` and no inode, which `accept()`
//! gives; the listener is known by namespace and port.

use super::{Answer, EvidenceSource, Explanation, Group, Rule, SocketView, explanation, yes};
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct NeverAccepted;

impl Rule for NeverAccepted {
    fn verdict(&self) -> Verdict {
        Verdict::NeverAccepted
    }

    fn check(&self, view: &SocketView<'_>) -> Answer {
        if !view.is_unaccepted() {
            return Answer::No;
        }
        let confidence = if view.listener().is_some() {
            Confidence::High
        } else {
            Confidence::Medium
        };
        yes(confidence, EvidenceSource::Holders)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let listener = group.oldest().and_then(SocketView::listener);
        let place = match (listener, group.local_port()) {
            (Some(listener), _) => format!("the listener on {}", listener.endpoints.local),
            (None, Some(port)) => format!("port {port}, whose listener was not found"),
            (None, None) => "a listener that was not found".to_owned(),
        };
        let mut evidence = vec![format!(
            "{} {} no inode: accept() never returned {}",
            explanation::sockets(group.count()),
            n.have,
            n.them
        )];
        if let Some(listener) = listener {
            evidence.push(format!(
                "the accept queue of {} holds {} (its backlog is {})",
                listener.endpoints.local,
                explanation::sockets(listener.waiting as usize),
                listener.backlog
            ));
        }
        evidence.push(format!(
            "{} Recv-Q is {}: {} nobody will answer, the FIN counting one byte",
            n.their,
            explanation::recv_q(group),
            explanation::agree(group.count(), "a request", "requests")
        ));
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} died waiting for accept() on {place}{}",
                explanation::sockets(group.count()),
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

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
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
