//! `lost-reference`: used, then forgotten: the object was dropped or an error path skipped `close()`.
//! Proof: the last operation was seen, nothing came after it, the call that made it is over, and nobody will be
//! told of the socket.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks};
use crate::diagnose::explanation;
use crate::model::{
    report::Direction,
    verdict::{Confidence, Severity, Verdict, VerdictDoc},
};

pub struct LostReference;

/// Others of its kind were closed by code that had not used them: a program that puts connections aside, or hands them on, may
/// do so with this one.
fn are_others_closed_elsewhere(view: &SocketView<'_>) -> bool {
    let history = *view.socket.history;
    let operations = history.opened.zip(history.used);
    view.direction() == Some(Direction::Accepted)
        && operations.is_some_and(|(opened, used)| view.context.are_closed_elsewhere(opened, used))
}

impl Rule for LostReference {
    fn verdict(&self) -> Verdict {
        Verdict::LostReference
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let used = view.socket.history.used;
        if used.is_none() || view.socket.history.eof.is_some() || view.socket.holders.is_empty() {
            return Answer::No;
        }
        // Still watched by an event loop, or still being worked on: another story.
        let at_work = view.activation().is_at_work();
        if view.is_watched() || view.is_polled() || at_work {
            return Answer::No;
        }
        // Taken by a read that nobody saw, the FIN may have been told to the program as well.
        if view.socket.recv_q == 0 && !view.fin_came_with_data() {
            return Answer::No;
        }
        let served_elsewhere = view.direction() == Some(Direction::Accepted)
            && used.is_some_and(|used| looks::may_be_served_elsewhere(view, used));
        let looks = looks::nobody(view)
            .doubt(
                served_elsewhere,
                "another thread waits inside the program, since right after that or while nobody has answered: it may serve it",
            )
            .doubt(
            are_others_closed_elsewhere(view),
            "others opened at the same place were closed by code that had not used them: it may have been put aside, or handed \
                 on, as those were",
        );
        let mut pids = view.holder_pids().iter();
        let sleeps = view.direction() == Some(Direction::Accepted)
            && pids.any(|pid| used.is_some_and(|used| view.context.does_another_sleep(*pid, used)));
        let looks = looks.look(
            !sleeps,
            "",
            "another thread sleeps inside the program: it may close the connection at its next turn",
        );
        let left = view.left_loop().filter(|left| left.by_handler);
        let (source, evidence) = match left {
            Some(left) => (EvidenceSource::TakenOut, Evidence::LeftLoop(Box::new(left))),
            None => (EvidenceSource::LastUsed, Evidence::Socket),
        };
        let proof = Proof::earned(looks, source, evidence);
        // A loop may have put it aside until something else happens.
        let in_loop = view
            .holder_pids()
            .iter()
            .any(|pid| view.context.some_loop_waits(*pid));
        let proof = proof.at_most(if in_loop && left.is_none() && looks::is_unanswered(view) {
            Confidence::Low
        } else if in_loop {
            Confidence::Medium
        } else {
            Confidence::High
        });
        Answer::Yes(match left {
            Some(_) => proof,
            None => proof.or_listener(view),
        })
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let left = group.evidence_source == EvidenceSource::TakenOut;
        let within = explanation::within(group);
        let mut evidence = Vec::new();
        if let Some(operation) = group.oldest().and_then(|view| view.socket.history.used) {
            let ago = explanation::ago(group, |view| view.socket.history.used).unwrap_or_default();
            let kind = explanation::kind(&operation);
            let (where_used, then) = if left {
                let out = format!("; then the event loop was told{within} to watch for no more");
                (String::new(), out)
            } else {
                (within.clone(), String::new())
            };
            evidence.push(format!(
                "the last operation was {kind}{where_used}, most recently {ago} ago{then}; no {} came after it",
                observed(group),
            ));
        }
        let before = explanation::how_many(group, |view| {
            view.last_operation()
                .is_some_and(|t| t.at < view.socket.since)
        });
        if before > 0 {
            evidence.push(format!(
                "{before} of {} {} last touched before the peer hung up: nobody noticed that it did",
                group.count(),
                explanation::agree(before, "was", "were")
            ));
        }
        evidence.push(match explanation::recv_q(group).as_str() {
            "1" => "Recv-Q is 1: only the peer's FIN is unread".to_owned(),
            "0" => "Recv-Q is 0: the FIN came in together with the last data".to_owned(),
            _ if group.views.iter().all(|view| view.socket.recv_q <= 1) => {
                "Recv-Q is 0 or 1: at most the peer's FIN is unread".to_owned()
            }
            other => format!("Recv-Q is {other}: data was left unread"),
        });
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} {} and {}",
                explanation::sockets(group.count()),
                n.were,
                if left {
                    format!("taken out of the event loop{within} after the last use")
                } else {
                    format!("last used{within}")
                },
                // Whoever may still have them closes them, perhaps.
                if group.confidence == Confidence::Low {
                    "not closed since"
                } else {
                    "then forgotten without close()"
                },
            ),
            evidence,
            advice: format!(
                "Follow the connection out of {}: on some path (an error, an early return, a dropped \
                 response) nobody closes it. {}",
                group
                    .function()
                    .unwrap_or_else(|| "the function that used it last".to_owned()),
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program used the connection, then forgot it: an error path, an early \
                       return or a dropped object skipped close().",
            proof: "The last operation was seen and nothing came after it; the call that made it has \
                       ended; no epoll set and no poll() will tell of it, no server was asked for it, and \
                       no busy worker may have it in a queue.",
            blamed: "the function that used the connection last; where one was seen to take it out of its \
                     event loop afterwards, that one",
            remedy: "Follow the connection out of that function and close it on every path.",
        }
    }
}

/// What would have been seen.
fn observed(group: &Group<'_>) -> &'static str {
    let view = group.oldest();
    match (
        view.is_some_and(SocketView::sees_reads),
        view.is_some_and(SocketView::sees_writes),
    ) {
        (true, true) => "read, write or close()",
        (true, false) => "read or close()",
        (false, true) => "write or close()",
        (false, false) => "close()",
    }
}
