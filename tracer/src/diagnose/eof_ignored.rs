//! `eof-ignored`: a read returned 0 and no close followed. Proof: the read's own event, taken with
//! `RCV_SHUTDOWN` set and everything read; for sockets older than the tracer only an empty receive
//! queue, which a last read of data together with the FIN leaves as well.

use super::{Answer, EvidenceSource, Explanation, Group, Rule, SocketView, explanation, yes};
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct EofIgnored;

impl Rule for EofIgnored {
    fn verdict(&self) -> Verdict {
        Verdict::EofIgnored
    }

    fn check(&self, view: &SocketView<'_>) -> Answer {
        if view.socket.recv_q != 0 {
            return Answer::No;
        }
        let history = view.socket.history;
        if view.was_passed_on() {
            return Answer::No;
        }
        if history.eof.is_some() {
            // The reader may still be at work on the answer.
            if view.still_at_it(history.eof).is_some() {
                return Answer::No;
            }
            return yes(Confidence::High, EvidenceSource::Eof);
        }
        if view.whole_life_seen() || history.used.is_some() {
            return Answer::No;
        }
        yes(Confidence::Medium, EvidenceSource::Nothing)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let seen = explanation::how_many(group, |view| view.socket.history.eof.is_some());
        let mut evidence = Vec::new();
        if seen > 0 {
            let ago = explanation::ago(group, |view| view.socket.history.eof).unwrap_or_default();
            evidence.push(format!(
                "{seen} of {}: a read{} returned 0 (the peer has closed), most recently {ago} ago; \
                 no close() or shutdown() came after it",
                group.count(),
                explanation::within(group)
            ));
        } else {
            evidence.push(
                "the end of the stream was read before tracing began, so who read it is not known; \
                 it may have come together with the last data"
                    .to_owned(),
            );
        }
        evidence.push("Recv-Q is 0: nothing is left to read".to_owned());
        evidence.extend(explanation::age_evidence(group));
        let place = match group.function() {
            Some(name) => format!("In {name}"),
            None => "Where the read returns 0".to_owned(),
        };
        let watch = if seen == 0 {
            "To learn which function reads and forgets them, keep `sockleak watch` running while new \
             ones appear. "
        } else {
            ""
        };
        Explanation {
            summary: format!(
                "{} {} read to the end{} and never closed",
                explanation::sockets(group.count()),
                n.were,
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "{watch}{place}, treat a read of 0 bytes as the end of the connection: close() it (and drop \
                 it from the event loop). {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The client closed its side. The program was told: a read returned 0 bytes. \
                       It did not close its own side, so the connection stays in CLOSE_WAIT until \
                       the process ends.",
            proof: "The read that returned 0 was seen with its stack, and no close() or \
                       shutdown() came after it.",
            blamed: "the function that read the end of the stream",
            remedy: "Treat a read of 0 bytes as the end of the connection: close it, and drop it \
                       from the event loop.",
        }
    }
}
