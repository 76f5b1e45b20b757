//! `never-read`: accepted, then dropped. Proof: the accept was seen and no read since; the request
//! lies in the receive queue; no epoll set will tell of it again; no crowd of blocked workers that
//! would explain a queue. All of it must have been looked at: reads by a hook, epoll sets and threads.

use super::{Answer, EvidenceSource, Explanation, Group, Rule, SocketView, explanation, yes};
use crate::model::{
    socket::SocketOperation,
    verdict::{Severity, Verdict, VerdictDoc},
};

pub struct NeverRead;

impl Rule for NeverRead {
    fn verdict(&self) -> Verdict {
        Verdict::NeverRead
    }

    fn check(&self, view: &SocketView<'_>) -> Answer {
        let history = view.socket.history;
        let accepted = history
            .opened
            .is_some_and(|opened| opened.kind == SocketOperation::Accept);
        let unused = history.used.is_none() && history.eof.is_none();
        if !accepted || !unused || view.socket.recv_q == 0 || !view.sees_reads() {
            return Answer::No;
        }
        let explained_otherwise = !view.epoll_known()
            || !view.threads_known()
            || view.is_watched()
            || view.threads_blocked_writing() > 0
            || view.still_at_it(history.opened).is_some();
        if explained_otherwise {
            return Answer::No;
        }
        let sure = view.nothing_lost() && !view.was_told_once();
        yes(explanation::confidence(view, sure), EvidenceSource::Opened)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut evidence = vec![
            if group.oldest().is_some_and(SocketView::sees_writes) {
                format!(
                    "accept() was seen, and no read or write on {} since",
                    n.them
                )
            } else {
                format!("accept() was seen, and no read on {} since", n.them)
            },
            format!(
                "Recv-Q is {}: the request and the FIN (one byte) lie unread",
                explanation::recv_q(group)
            ),
        ];
        evidence.extend(explanation::watching(group));
        Explanation {
            summary: format!(
                "{} {} accepted{} and never read",
                explanation::sockets(group.count()),
                n.were,
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "Follow what{} does with the descriptor accept() returns: some path neither hands it \
                 to a handler nor closes it. {}",
                group
                    .function()
                    .map_or_else(|| " the program".to_owned(), |name| format!(" {name}")),
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program accepted the connection and then lost it: no code reads from it, \
                       waits for it, or closes it.",
            proof: "accept() was seen, and no read since; the request lies unread; no epoll set \
                       will tell of it again; no pool of blocked workers explains a queue.",
            blamed: "the function that called accept()",
            remedy: "Follow the descriptor from accept(): some path neither hands it to a handler \
                       nor closes it.",
        }
    }
}
