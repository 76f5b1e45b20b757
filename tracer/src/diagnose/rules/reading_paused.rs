//! `reading-paused`: back-pressure. Proof: data lies unread, and the other connection of the relay, in
//! the same process, has a full Send-Q: whoever should take the data does not read.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::diagnose::explanation;
use crate::model::{
    endpoint::Endpoint,
    verdict::{Confidence, Severity, Verdict, VerdictDoc},
};

pub struct ReadingPaused;

impl Rule for ReadingPaused {
    fn verdict(&self) -> Verdict {
        Verdict::ReadingPaused
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let partner = view.context.pairs.partner_of(view.socket.cookie);
        let Some(partner) =
            partner.filter(|partner| partner.is_open() && partner.connection.send_q > 0)
        else {
            return Answer::No;
        };
        // The FIN alone would be unread as well; data shows that nobody reads.
        if view.socket.recv_q == 0 || view.socket.history.eof.is_some() {
            return Answer::No;
        }
        let source = EvidenceSource::LastUsed;
        let proof = Proof::earned(Looks::default(), source, Evidence::Relay(partner));
        Answer::Yes(proof.at_most(Confidence::Medium))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Suspect
    }

    fn explain(&self, group: &Group<'_>, relay: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut evidence = vec![format!(
            "Recv-Q is {}: nobody reads from {}",
            explanation::recv_q(group),
            n.them
        )];
        let Evidence::Relay(partner) = relay else {
            return Explanation::default();
        };
        let remote = Endpoint(partner.connection.endpoints.remote);
        evidence.push(format!(
            "the process opened one connection for each of them; that of the oldest, to {remote}, \
             has {} bytes in Send-Q that its peer does not take",
            partner.connection.send_q
        ));
        if let Some(used) = partner.history.used {
            evidence.push(format!(
                "last use of that connection: {}, {} ago",
                explanation::kind(&used),
                explanation::span(group.now.saturating_sub(used.at))
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} not read because the other side of the relay ({remote}) is too slow to take more",
                explanation::sockets(group.count()),
                n.are
            ),
            evidence,
            advice: format!(
                "Find out why that peer does not read. Give the relay a time limit for writing, and let \
                 it watch for EPOLLRDHUP while reading is paused, so that a hang-up of either side ends \
                 both. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program passes data from one connection to another. The receiver is too slow, \
                       so the program has stopped reading from the sender, and therefore does not see \
                       that the sender has hung up.",
            proof: "Unread data on this connection (Recv-Q), and unsent data (Send-Q) on the one \
                    connection the process opened right after accepting it.",
            blamed: "the function that touched the connection last",
            remedy: "Put a time limit on writing to the slow side, and watch for EPOLLRDHUP while reading \
                     is paused.",
        }
    }
}
