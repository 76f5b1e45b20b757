//! `closed-at-exit`: the program never closed it; the kernel did when the process exited. Proof: it was stuck
//! beyond the threshold, and the exiting process made the transition that ended it: the task, or its runtime (`pipeline/program_end.rs`).

use std::collections::BTreeSet;

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Rule, SocketView, yes};
use crate::diagnose::explanation;
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct ClosedAtExit;

impl Rule for ClosedAtExit {
    fn verdict(&self) -> Verdict {
        Verdict::ClosedAtExit
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        if !view.has_ended() {
            return Answer::No;
        }
        // Whoever used it has closed it: nobody is to blame for the use.
        let source = if view.has_ended_as_copy() {
            EvidenceSource::Nothing
        } else {
            EvidenceSource::LastUsed
        };
        yes(Confidence::High, source)
    }

    /// A pool of finished connections may be left to the exit; the rest was forgotten.
    fn severity(&self, group: &Group<'_>) -> Severity {
        if group.views.iter().all(SocketView::is_pooled_perhaps) {
            Severity::Info
        } else {
            Severity::Leak
        }
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        if group.views.iter().all(SocketView::is_unaccepted) {
            return unaccepted(group);
        }
        if group.views.iter().all(SocketView::has_ended_as_copy) {
            return copies(group);
        }
        let hidden = group.views.iter().filter(|view| view.is_hidden()).count();
        let mut evidence = Vec::new();
        if hidden < group.count() {
            evidence.push(format!(
                "the exit ended {}: the kernel, or the language runtime once the program had ended",
                if hidden == 0 { n.them } else { "the rest" }
            ));
        }
        if hidden > 0 {
            evidence.push(format!(
                "{hidden} of {} had been ended by the kernel before (a reset, a timeout, or shutdown()): the exit closed no \
                 connection any more, only the descriptor",
                group.count()
            ));
        }
        evidence.push(format!(
            "{} last Recv-Q was {}",
            n.their,
            explanation::recv_q(group)
        ));
        let read = explanation::how_many(group, |view| view.socket.history.eof.is_some());
        if read > 0 {
            evidence.push(format!(
                "{read} of {}: a read had returned 0 (the peer has closed), and no close() came after it",
                group.count()
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{}{} stayed {} until the process exited; the program never closed {}",
                explanation::sockets(group.count()),
                group
                    .function()
                    .map(|name| format!(" last used in {name}"))
                    .unwrap_or_default(),
                match hidden {
                    0 => "in CLOSE_WAIT",
                    all if all == group.count() => "open, ended by the kernel,",
                    _ => "in CLOSE_WAIT, or open and ended by the kernel,",
                },
                n.them
            ),
            evidence,
            advice: "Close the connection where it is done with: a process that lives longer collects \
                     them. Why this one exited is another question; running out of descriptors is a \
                     common answer."
                .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program never closed the connection. It went away because the process exited, \
                       and the kernel, or the language runtime on its way out, closes what is open then.",
            proof: "It was stuck for longer than the threshold, and the transition out of CLOSE_WAIT was \
                    made by the exiting process itself, its language runtime included; or the kernel had ended it before, and only the exit \
                    closed its descriptor.",
            blamed: "the function that used the connection last, or opened it",
            remedy: "Close the connection where it is done with, so that a long-lived process does not \
                     collect them.",
        }
    }
}

/// The listener's end takes along what waits in its queue.
fn unaccepted(group: &Group<'_>) -> Explanation {
    let n = explanation::number(group.count());
    let mut evidence = vec![
        format!(
            "accept() was never called for {}: no descriptor led to {}",
            n.them, n.them
        ),
        format!(
            "the exit closed the listener, and the kernel reset {} with it",
            n.them
        ),
    ];
    evidence.extend(explanation::age_evidence(group));
    Explanation {
        summary: format!(
            "{} waited in the accept queue until the process exited: nobody accepted {}",
            explanation::sockets(group.count()),
            n.them
        ),
        evidence,
        advice: "Nothing is to be closed here. See what kept the program from calling accept(), and whether \
                 it was meant to end with clients waiting."
            .to_owned(),
    }
}

/// Of a process that never used them: who did has closed its own, or has ended.
fn copies(group: &Group<'_>) -> Explanation {
    let n = explanation::number(group.count());
    let pids: BTreeSet<u32> = (group.views.iter())
        .filter_map(|view| view.socket.ended_by())
        .collect();
    let had = match pids.first() {
        Some(pid) if pids.len() == 1 => format!("pid {pid} had"),
        _ => format!("{} processes had", pids.len()),
    };
    let copies = explanation::agree(group.count(), "a copy", "copies");
    let mut evidence = vec![format!(
        "{had} {copies} and never used {}: whoever did had closed its own by then, or had ended",
        n.them
    )];
    evidence.extend(explanation::age_evidence(group));
    Explanation {
        summary: format!(
            "{} stayed in CLOSE_WAIT until a process exited that had only {copies} of the {}",
            explanation::sockets(group.count()),
            n.descriptors
        ),
        evidence,
        advice: "Copies come by fork(): the child must close what it does not serve, or be started before the first connection \
                 is accepted; SOCK_CLOEXEC drops them where it executes another program."
            .to_owned(),
    }
}
