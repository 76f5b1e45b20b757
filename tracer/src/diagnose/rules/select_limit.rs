//! `select-limit`: descriptors of 1024 and above are invisible to `select()` (`FD_SETSIZE`). Proof: all
//! descriptors of the socket are, nothing was read, and a thread of the process waits in `select()`.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Rule, SocketView, yes};
use crate::diagnose::explanation;
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct SelectLimit;

/// `__FD_SETSIZE` of `include/uapi/linux/posix_types.h`.
const FD_SETSIZE: u32 = 1024;

impl Rule for SelectLimit {
    fn verdict(&self) -> Verdict {
        Verdict::SelectLimit
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let holders = &view.socket.holders;
        let invisible = !holders.is_empty() && holders.iter().all(|h| h.fd >= FD_SETSIZE);
        let selects = view.polls().any(|polled| polled.select);
        if !invisible || view.socket.recv_q == 0 || !selects || view.watch().is_some() {
            return Answer::No;
        }
        yes(Confidence::Medium, EvidenceSource::Opened)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let fds = group.views.iter().flat_map(|view| &view.socket.holders);
        let lowest = fds.map(|holder| holder.fd).min().unwrap_or_default();
        let mut evidence = vec![
            format!(
                "{} {lowest} or above; select() sees none from {FD_SETSIZE} on",
                explanation::agree(
                    group.count(),
                    "its descriptor is",
                    "all their descriptors are"
                )
            ),
            format!(
                "a thread of the process waits in select(), and no epoll set holds {}",
                n.them
            ),
            format!(
                "Recv-Q is {}: nobody reads from {}",
                explanation::recv_q(group),
                n.them
            ),
        ];
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} {FD_SETSIZE} or above, which the program's select() loop cannot \
                 see",
                explanation::sockets(group.count()),
                explanation::agree(group.count(), "has a descriptor of", "have descriptors of")
            ),
            evidence,
            advice: format!(
                "Use poll() or epoll instead of select(), which cannot be enlarged; until then, refuse \
                 connections whose descriptor is {FD_SETSIZE} or above."
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program waits for its connections with select(), whose sets end at descriptor \
                       1023. Connections with higher descriptors are open, but never reported as readable.",
            proof: "Every descriptor of the connection is 1024 or above, data or the FIN lies unread, and \
                    a thread of the process waits in select().",
            blamed: "the function that opened the connection",
            remedy: "Use poll() or epoll. Look for what keeps so many descriptors open as well.",
        }
    }
}
