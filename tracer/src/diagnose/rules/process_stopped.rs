//! `process-stopped`: no holder runs: stopped by a signal or a debugger, in a frozen cgroup, or with every
//! thread in an uninterruptible wait. Not a leak: nothing can be said about a program that does not run.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Rule, SocketView, yes};
use crate::diagnose::explanation;
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct ProcessStopped;

impl Rule for ProcessStopped {
    fn verdict(&self) -> Verdict {
        Verdict::ProcessStopped
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let holder_pids = view.holder_pids();
        if holder_pids.is_empty() || !holder_pids.iter().all(|pid| why(view, *pid).is_some()) {
            return Answer::No;
        }
        yes(Confidence::High, EvidenceSource::Nothing)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Info
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        Explanation {
            summary: format!(
                "{} {} to a process that is stopped, so it cannot close {}",
                explanation::sockets(group.count()),
                explanation::agree(group.count(), "belongs", "belong"),
                n.them
            ),
            evidence: reasons(group),
            advice:
                "Let the process go on (kill -CONT PID, or thaw its cgroup) or end it; whether it leaks can only be \
                     seen while it runs."
                    .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The process does not run: it was stopped by a signal or a debugger, its \
                       cgroup is frozen, or it waits for a device. It cannot close anything, and \
                       nothing can be said about what it would do.",
            proof: "State T in /proc/PID/stat, a frozen cgroup, or every thread in state D.",
            blamed: "nobody: this is not a leak",
            remedy: "Let the process go on (kill -CONT, thaw the cgroup, mend the device), and \
                       look again.",
        }
    }
}

/// Why the process does not run, if it does not.
fn why(view: &SocketView<'_>, pid: u32) -> Option<&'static str> {
    let process = view.tracker.process(pid)?;
    let threads = view.tracker.threads(pid);
    if matches!(process.state, 'T' | 't') {
        Some("state T in /proc/PID/stat: stopped by a signal or a debugger")
    } else if process.frozen {
        Some("its cgroup is frozen")
    } else if view.threads_known() && threads.iter().all(|thread| thread.state == 'D') {
        Some(
            "every thread is in state D: an uninterruptible wait, mostly for a disk or a network disk",
        )
    } else {
        None
    }
}

fn reasons(group: &Group<'_>) -> Vec<String> {
    let mut reasons: Vec<_> = group
        .views
        .iter()
        .flat_map(|view| view.holder_pids().iter().filter_map(|pid| why(view, *pid)))
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.into_iter().map(str::to_owned).collect()
}
