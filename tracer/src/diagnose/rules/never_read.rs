//! `never-read`: accepted, then dropped. Proof: the accept was seen and no read since; the request lies in the
//! receive queue; whoever accepted has gone on; nobody will be told of it, and no worker may have it in a queue.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks};
use crate::diagnose::{context::waits::WaitsFor, explanation};
use crate::model::{
    socket::SocketOperation,
    verdict::{Severity, Verdict, VerdictDoc},
};

pub struct NeverRead;

fn was_accepted_by_a_loop(view: &SocketView<'_>) -> bool {
    let opened = view.socket.history.opened;
    let acceptor = opened.and_then(|opened| view.context.threads.seen(opened.actor()));
    acceptor.is_some_and(|acceptor| matches!(view.context.waits.of(acceptor), WaitsFor::Set(_)))
}

impl Rule for NeverRead {
    fn verdict(&self) -> Verdict {
        Verdict::NeverRead
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let accepted = view
            .socket
            .history
            .opened
            .is_some_and(|opened| opened.kind == SocketOperation::Accept);
        if view.socket.holders.is_empty()
            || !accepted
            || !view.is_unused()
            || view.socket.recv_q == 0
            || !view.sees_reads()
        {
            return Answer::No;
        }
        let at_work = view.activation().is_at_work();
        if view.is_watched() || view.is_polled() || at_work {
            return Answer::No;
        }
        let looks = looks::nobody(view).doubt(
            view.context.gives_away(*view.socket.history),
            "its process gives connections that it has accepted to others: it may lie there until one of these takes it",
        );
        let looks = looks.doubt(
            view.context.is_held_by_its_own(view.socket.cookie),
            "the process that holds it was started right after it was accepted: it may come to it",
        );
        let looks = looks.doubt(
            was_accepted_by_a_loop(view),
            "an event loop has accepted it: it may keep the connection paused until something else happens, without watching it",
        );
        let proof = Proof::earned(looks, EvidenceSource::Opened, Evidence::Socket);
        Answer::Yes(proof.or_listener(view))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let evidence = vec![
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
            proof: "accept() was seen, and no read since; the request lies unread; whoever accepted has \
                       gone on; no epoll set and no poll() will tell of it, and no busy worker may have it \
                       in a queue.",
            blamed: "the function that called accept()",
            remedy: "Follow the descriptor from accept(): some path neither hands it to a handler \
                       nor closes it.",
        }
    }
}
