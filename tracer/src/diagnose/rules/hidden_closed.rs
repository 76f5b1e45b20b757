//! `hidden-closed`: the kernel has finished the connection, the descriptor was never closed. Proof: a
//! socket in CLOSE that was connected once, with a descriptor open (gone from ss and /proc/net/tcp).

use tracer_common::state::{CLOSE_WAIT, LAST_ACK};

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView,
    looks::{self, Looks},
};
use crate::diagnose::explanation;
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct HiddenClosed;

const EPIPE: u16 = 32;
const ECONNRESET: u16 = 104;
const ETIMEDOUT: u16 = 110;

impl Rule for HiddenClosed {
    fn verdict(&self) -> Verdict {
        Verdict::HiddenClosed
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        if !view.is_hidden() || view.socket.holders.is_empty() {
            return Answer::No;
        }
        let at_work = view.activation().is_at_work();
        let mut pids = view.holder_pids().iter();
        let in_loop = pids.any(|pid| view.context.some_loop_waits(*pid));
        let looks = Looks::default()
            .doubt(
                view.socket.history.used.is_none(),
                "its use was not seen: whoever has it may be at work on it, and close it after that",
            )
            .look(
                !in_loop,
                "",
                "the program has an event loop, which may end it when something happens to another connection",
            )
            .doubt(
                in_loop && looks::is_unanswered(view),
                "nobody has answered what was read: an event loop may end it once that is done",
            )
            .doubt(
                at_work,
                "who used it last may be at work on it still, and close it after that",
            )
            .doubt(
                view.runs_tasks(),
                "the program runs tasks or coroutines of its own: one of them may be at work on it, and close it after that",
            );
        let proof = Proof::earned(looks, EvidenceSource::LastUsed, Evidence::Socket);
        Answer::Yes(proof.or_listener(view))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut evidence = vec![format!(
            "{} in state CLOSE with the descriptor still open; ss, netstat and /proc/net/tcp do not \
             list {}",
            explanation::sockets(group.count()),
            n.them
        )];
        let mut causes: Vec<(&str, usize)> = Vec::new();
        for cause in group.views.iter().filter_map(cause) {
            match causes.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, count)) => *count += 1,
                None => causes.push((cause, 1)),
            }
        }
        evidence.extend(
            causes
                .iter()
                .map(|(cause, count)| format!("{count} ended by {cause}")),
        );
        if let Some(ago) = explanation::ago(group, |view| view.socket.history.used) {
            evidence.push(format!("last use{} {ago} ago", explanation::within(group)));
        }
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} ended in the kernel but {} closed{}: {} still holds a descriptor and \
                 about 4 KiB of kernel memory",
                explanation::sockets(group.count()),
                // Whoever may be at work on them closes them, perhaps.
                if group.confidence == Confidence::Low {
                    "not yet"
                } else {
                    "never"
                },
                explanation::within(group),
                explanation::agree(group.count(), "it", "each")
            ),
            evidence,
            advice: format!(
                "Close the descriptor on every path{}, also after an error or shutdown(). {}",
                explanation::within(group),
                "This is what a leak looks like once keepalive or a reset has hidden it: fewer \
                 sockets in CLOSE_WAIT are not fewer leaks."
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The kernel has ended the connection: a reset, a timeout (keepalive), or both \
                       directions shut down. The program still has the descriptor open. Such a \
                       socket is in state CLOSE, which ss, netstat and /proc/net/tcp do not list: \
                       the leak is hidden, not gone.",
            proof: "A socket in state CLOSE that was connected once, with a descriptor open.",
            blamed: "the function that used the connection last",
            remedy: "Close the descriptor on every path, also after an error. Fewer sockets in \
                       CLOSE_WAIT are not fewer leaks when keepalive or resets move them here.",
        }
    }
}

/// From the circumstances of the transition into CLOSE.
fn cause(view: &SocketView<'_>) -> Option<&'static str> {
    let entry = view.socket.entry?;
    match entry.error {
        ECONNRESET => Some("a reset (RST) from the peer"),
        EPIPE if entry.old_state == CLOSE_WAIT => {
            Some("a reset (RST) after the peer had hung up, usually the answer to a late write")
        }
        ETIMEDOUT => Some("a timeout: keepalive or retransmission gave the peer up"),
        _ if entry.old_state == LAST_ACK => Some("shutdown(), after which close() is still needed"),
        _ => None,
    }
}
