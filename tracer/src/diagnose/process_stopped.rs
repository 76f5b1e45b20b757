//! `process-stopped`: every holder is stopped by a signal or a debugger. Not a leak: nothing can be
//! said about a program that does not run.

use super::{Answer, Case, Group, Rule, Telling, Words, words, yes};
use crate::model::verdict::{Confidence, Severity, Verdict};

pub struct ProcessStopped;

impl Rule for ProcessStopped {
    fn verdict(&self) -> Verdict {
        Verdict::ProcessStopped
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let owners = case.owners();
        let stopped = |pid: &u32| {
            case.tracker
                .process(*pid)
                .is_some_and(|process| matches!(process.state, 'T' | 't'))
        };
        if owners.is_empty() || !owners.iter().all(stopped) {
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
            evidence: vec![
                "state T in /proc/PID/stat: stopped by a signal or a debugger".to_owned(),
            ],
            advice:
                "Continue the process (kill -CONT PID) or end it; whether it leaks can only be \
                     seen while it runs."
                    .to_owned(),
        }
    }
}
