//! `unknown`: stuck, and the facts do not prove why. Says what is known and how to learn more.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView};
use crate::diagnose::{context::waits, explanation};
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct Unknown;

impl Rule for Unknown {
    fn verdict(&self) -> Verdict {
        Verdict::Unknown
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let history = *view.socket.history;
        let evidence_source = if view.was_read_unseen() {
            EvidenceSource::Nothing
        } else if history.eof.is_some() {
            EvidenceSource::Eof
        } else if history.used.is_some() {
            EvidenceSource::LastUsed
        } else if history.opened.is_some() {
            EvidenceSource::Opened
        } else {
            EvidenceSource::Nothing
        };
        let mut proof = Proof::of_socket(Confidence::Low, evidence_source);
        proof.is_of_nothing = true;
        Answer::Yes(proof)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Suspect
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut evidence = vec![format!("Recv-Q is {}", explanation::recv_q(group))];
        let Some(view) = group.oldest() else {
            return Explanation::default();
        };
        let unseen = view.was_read_unseen();
        if unseen {
            evidence.push(format!(
                "{} {} read to the end by calls that are not watched, such as splice(): so Go's io.Copy copies from \
                 one connection to another",
                n.they, n.were
            ));
        }
        if let Some(operation) = view.last_operation() {
            evidence.push(format!(
                "the last thing {} the oldest was {}{}, by {}",
                if unseen { "seen of" } else { "done to" },
                explanation::kind(&operation),
                explanation::within(group),
                explanation::by(&operation)
            ));
        } else {
            evidence.push(format!(
                "no system call on {} was seen: {} {} older than the tracer",
                n.them, n.they, n.are
            ));
        }
        if let Some(watch) = view.watch() {
            evidence.push(format!(
                "an epoll set watches {} (events {:#x}), yet nobody reads",
                n.them, watch.events
            ));
        }
        if view.was_passed_on() {
            evidence.push(
                "the process opened one connection for each of them and has ended its side of that of \
                 the oldest (FIN_WAIT): it may only wait for the peer there to close"
                    .to_owned(),
            );
        }
        let last = view
            .last_operation()
            .and_then(|last| view.context.threads.seen(last.actor()));
        if let Some(thread) = last {
            evidence.push(format!(
                "the thread that touched the oldest last: {}",
                waits::one(&view.context.waits, thread, group.now)
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        let advice = if unseen {
            "Look for code that copies from one connection to another: when either ends, both have to be closed."
        } else if view.last_operation().is_some() {
            "Look at what the process's threads do now and at the function named here."
        } else {
            "Keep `sockleak watch` running while new ones appear: it then sees who opens, reads and \
             forgets them, which cannot be learned afterwards."
        };
        Explanation {
            summary: format!(
                "{} {} stuck; what was seen does not prove why",
                explanation::sockets(group.count()),
                n.are
            ),
            evidence,
            advice: format!("{advice} {}", explanation::NOT_KEEPALIVE),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The connection is stuck, and what was seen does not prove why. Mostly it is \
                       older than the tracer, so that nobody saw who opened, read or forgot it.",
            proof: "Nothing: this is the answer when no other is proven. A guess would be worse.",
            blamed: "the function that touched the connection last, where one was seen",
            remedy: "Keep `sockleak watch` running while new ones appear, and look at what the \
                       process's threads do.",
        }
    }
}
