//! `half-close-not-forwarded`: a proxy read the end of one side and left the other side open. Proof: the
//! read's own event, and the partner connection is still open in both directions: no `shutdown()`.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::diagnose::explanation;
use crate::model::{
    endpoint::Endpoint,
    verdict::{Confidence, Severity, Verdict, VerdictDoc},
};

pub struct HalfCloseNotForwarded;

impl Rule for HalfCloseNotForwarded {
    fn verdict(&self) -> Verdict {
        Verdict::HalfCloseNotForwarded
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let history = *view.socket.history;
        let Some(partner) = view.context.pairs.partner_of(view.socket.cookie) else {
            return Answer::No;
        };
        // Whoever relays has written to the other side what it read here, and back.
        if !partner.is_open() || view.socket.recv_q != 0 || !partner.copies_both_ways() {
            return Answer::No;
        }
        let source = if history.eof.is_some() {
            EvidenceSource::Eof
        } else if history.opened.is_some() && !view.fin_came_with_data() {
            // Taken by something no hook sees, as splice() is.
            EvidenceSource::LastUsed
        } else {
            return Answer::No;
        };
        let proof = Proof::earned(Looks::default(), source, Evidence::Relay(partner));
        Answer::Yes(proof.at_most(Confidence::Medium))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let ago = explanation::ago(group, |view| view.socket.history.eof);
        let Evidence::Relay(partner) = evidence else {
            return Explanation::default();
        };
        let mut evidence = vec![match ago {
            Some(ago) => format!(
                "a read{} returned 0 (the peer has closed), most recently {ago} ago; neither close() nor \
                 shutdown() came after it",
                explanation::within(group)
            ),
            None => {
                "the end of the stream was taken by a call that no hook sees, such as splice(); \
                     neither close() nor shutdown() came after it"
                    .to_owned()
            }
        }];
        evidence.push(format!(
            "the process opened one connection for each of them; that of the oldest, to {}, is still \
             ESTABLISHED: it was not told that nothing more will come",
            Endpoint(partner.connection.endpoints.remote)
        ));
        evidence.push("Recv-Q is 0: nothing is left to pass on".to_owned());
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} of a relay {} read to the end{}, and the end was not passed on to the other side",
                explanation::sockets(group.count()),
                n.were,
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "When a read returns 0, call shutdown(SHUT_WR) on the other connection, and close both \
                 once both directions have ended. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "A proxy copies between two connections. One side hung up; the proxy read that, but \
                       did not tell the other side, which therefore keeps its half open, and both stay.",
            proof: "The end of this connection was read, and the one connection the process opened for \
                    it is still ESTABLISHED: no shutdown() was called on it.",
            blamed: "the function that read the end of the stream",
            remedy: "Forward the end: shutdown(SHUT_WR) on the other connection, close() on both when \
                     both directions are done.",
        }
    }
}
