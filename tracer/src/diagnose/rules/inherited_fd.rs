//! `inherited-fd`: whoever worked with the connection has closed it, others still hold it. Proof: no
//! process that opened, used or read it to its end is among the holders, and these were not started to serve it.

use std::collections::BTreeSet;

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::diagnose::explanation;
use crate::model::verdict::{Severity, Verdict, VerdictDoc};

pub struct InheritedFd;

impl Rule for InheritedFd {
    fn verdict(&self) -> Verdict {
        Verdict::InheritedFd
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let history = *view.socket.history;
        let users: Vec<u32> = [history.opened, history.used, history.eof]
            .into_iter()
            .flatten()
            .map(|operation| operation.pid)
            .collect();
        let gone = !users.is_empty() && !users.iter().any(|pid| view.holds(*pid));
        if view.socket.holders.is_empty() || !gone || !view.all_holders_seen() {
            return Answer::No;
        }
        // Whoever holds it was started to serve it, and has not come to that.
        if view.context.is_held_by_its_own(view.socket.cookie) {
            return Answer::No;
        }
        let looks = Looks::default()
            .look(view.whole_life_seen(), "", "its whole life was not seen")
            .doubt(
                view.is_unused(),
                "nobody was seen to use it: who holds it may have been given it to serve, and not have come to that",
            );
        let evidence_source = if history.used.is_some() {
            EvidenceSource::LastUsed
        } else {
            EvidenceSource::Opened
        };
        Answer::Yes(Proof::earned(looks, evidence_source, Evidence::Socket))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let user = group.oldest().and_then(SocketView::last_operation);
        let holders = holders(group);
        let mut evidence = Vec::new();
        if let Some(operation) = user {
            evidence.push(format!(
                "last used by pid {} ({}{}), which has closed its descriptor",
                operation.pid,
                explanation::kind(&operation),
                explanation::within(group)
            ));
        }
        evidence.push(format!(
            "still held by {holders}, which never used {}",
            n.them
        ));
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} closed by the process that served {}, but {holders} still {} {}",
                explanation::sockets(group.count()),
                n.were,
                n.them,
                explanation::agree(holding(group).len(), "holds", "hold"),
                explanation::agree(
                    group.count(),
                    "a copy of the descriptor",
                    "copies of the descriptors"
                )
            ),
            evidence,
            advice: if is_same_program(group) {
                "The copies came by fork(): the child must close what it does not serve, or be started before the \
                 first connection is accepted, or by a way that executes a program anew (Python: \
                 multiprocessing's `spawn` or `forkserver`), as SOCK_CLOEXEC helps only there."
            } else {
                "Open and accept with SOCK_CLOEXEC (accept4) so that exec() drops the copies; \
                 a child that forks without exec must close what it does not serve, or be \
                 started before the first connection is accepted."
            }
            .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "A descriptor can be open in several processes, after fork() for instance. \
                       The program closed its copy; a child still holds another, so the kernel \
                       keeps the connection.",
            proof: "The process that opened or used the connection no longer has it; others have, which were not started for it.",
            blamed: "the process that holds the copy",
            remedy: "Open sockets with SOCK_CLOEXEC, and close inherited descriptors in children.",
        }
    }
}

/// All that hold copies execute the program of the process that served the connections, which still lives.
fn is_same_program(group: &Group<'_>) -> bool {
    let Some(view) = group.oldest() else {
        return false;
    };
    let program = |pid: u32| {
        let process = view.tracker.process(pid);
        process.and_then(|process| process.exe.as_deref())
    };
    let server = view.last_operation().and_then(|last| program(last.pid));
    server.is_some() && holding(group).iter().all(|pid| program(*pid) == server)
}

fn holding(group: &Group<'_>) -> BTreeSet<u32> {
    let pids = group.views.iter().flat_map(SocketView::holder_pids);
    pids.copied().collect()
}

/// `helper (pid 7)`, or `3 processes (helper, …)`.
fn holders(group: &Group<'_>) -> String {
    let pids: Vec<u32> = holding(group).into_iter().collect();
    let name = |pid: u32| {
        let comm = group.oldest().and_then(|view| view.tracker.process(pid));
        comm.map_or_else(|| "a process".to_owned(), |process| process.comm.clone())
    };
    match pids.as_slice() {
        [pid] => format!("{} (pid {pid})", name(*pid)),
        [pid, ..] => format!(
            "{} processes (the first is {}, pid {pid})",
            pids.len(),
            name(*pid)
        ),
        [] => "another process".to_owned(),
    }
}
