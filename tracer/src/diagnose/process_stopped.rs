//! `process-stopped`: no holder runs: stopped by a signal or a debugger, in a frozen cgroup, or with every
//! thread in an uninterruptible wait. Not a leak: nothing can be said about a program that does not run.

use super::{Answer, Case, Group, Rule, Telling, Words, words, yes};
use crate::model::verdict::{Confidence, Lesson, Severity, Verdict};

pub struct ProcessStopped;

impl Rule for ProcessStopped {
    fn verdict(&self) -> Verdict {
        Verdict::ProcessStopped
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let owners = case.owners();
        if owners.is_empty() || !owners.iter().all(|pid| why(case, *pid).is_some()) {
            return Answer::No;
        }
        yes(Confidence::High, Telling::Nothing)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Info
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        Words {
            summary: format!(
                "{} belong to a process that is stopped, so it cannot close them",
                words::sockets(group.count())
            ),
            evidence: reasons(group),
            advice:
                "Let the process go on (kill -CONT PID, or thaw its cgroup) or end it; whether it leaks can only be \
                     seen while it runs."
                    .to_owned(),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
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
fn why(case: &Case<'_>, pid: u32) -> Option<&'static str> {
    let process = case.tracker.process(pid)?;
    let threads = case.tracker.threads(pid);
    if matches!(process.state, 'T' | 't') {
        Some("state T in /proc/PID/stat: stopped by a signal or a debugger")
    } else if process.frozen {
        Some("its cgroup is frozen")
    } else if case.threads_known() && threads.iter().all(|thread| thread.state == 'D') {
        Some(
            "every thread is in state D: an uninterruptible wait, mostly for a disk or a network disk",
        )
    } else {
        None
    }
}

fn reasons(group: &Group<'_>) -> Vec<String> {
    let mut reasons: Vec<_> = group
        .cases
        .iter()
        .flat_map(|case| case.owners().iter().filter_map(|pid| why(case, *pid)))
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons.into_iter().map(str::to_owned).collect()
}
