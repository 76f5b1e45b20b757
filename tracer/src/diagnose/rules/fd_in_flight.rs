//! `fd-in-flight`: passed over a unix socket and never received. Proof: an inode, and no process
//! holds a descriptor in a complete inventory that sees all processes. An `io_uring` fixed file looks
//! the same.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Rule, SocketView, yes};
use crate::diagnose::explanation;
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct FdInFlight;

impl Rule for FdInFlight {
    fn verdict(&self) -> Verdict {
        Verdict::FdInFlight
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let socket = view.socket;
        let held = !socket.holders.is_empty();
        if held || socket.inode == 0 || !view.tracker.is_complete() || !view.all_holders_seen() {
            return Answer::No;
        }
        // Accepted after the holders were looked for, in the same inventory: its holder is missing.
        let opened = socket.history.opened.map_or(0, |opened| opened.at);
        if opened.max(socket.accepted_at) >= view.tracker.inventory_from() {
            return Answer::No;
        }
        // By the state alone: which of both it is was not seen.
        let was_seen = view.last_operation().is_some();
        yes(
            if was_seen {
                Confidence::Medium
            } else {
                Confidence::Low
            },
            EvidenceSource::LastUsed,
        )
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut evidence = vec![format!(
            "{} with an inode, but no process has a descriptor for {}",
            explanation::sockets(group.count()),
            n.them
        )];
        if let Some(operation) = group.oldest().and_then(SocketView::last_operation) {
            evidence.push(format!(
                "the last to use one was {}, by {}",
                explanation::by(&operation),
                explanation::kind(&operation)
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} held by no process: sent over a unix socket and never received, or \
                 registered as {} of an io_uring",
                explanation::sockets(group.count()),
                n.are,
                explanation::agree(group.count(), "a fixed file", "fixed files")
            ),
            evidence,
            advice: "Look at the receiving end of the unix socket that passes descriptors: it must \
                     receive what is sent to it, or be closed. The kernel frees the connections when \
                     the unix socket is closed. A program that uses io_uring closes fixed files with a close \
                     request of the ring that names their slot; the kernel frees them with the ring."
                .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "One process sent the descriptor to another over a unix socket (SCM_RIGHTS), \
                       and the other never received the message.",
            proof: "The connection has an inode, so it was accepted or opened, and no process \
                       holds it.",
            blamed: "nobody: the sender has let go of it, the receiver has not taken it",
            remedy: "Receive and close what lies in the unix socket, or close that socket; with io_uring, close the \
                     fixed file.",
        }
    }
}
