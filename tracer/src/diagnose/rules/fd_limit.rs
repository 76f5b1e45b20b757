//! `fd-limit`: `accept()` fails because the process has no descriptor left; the leak is elsewhere. Proof:
//! nobody accepted the connection, and the process that listens has as many descriptors as it may.

use super::{Answer, Evidence, EvidenceSource, Explanation, Group, Rule, SocketView, yes};
use crate::diagnose::explanation;
use crate::model::verdict::{Confidence, Severity, Verdict, VerdictDoc};

pub struct FdLimit;

impl Rule for FdLimit {
    fn verdict(&self) -> Verdict {
        Verdict::FdLimit
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let full = || {
            let process = view.process()?;
            Some(process.open_fds? >= process.fd_limit?)
        };
        if view.is_unaccepted() && full() == Some(true) {
            return yes(Confidence::High, EvidenceSource::Accused);
        }
        Answer::No
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let mut evidence = Vec::new();
        if let Some(process) = group.process {
            let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
            evidence.push(format!(
                "{} (pid {}) has {} of {} descriptors open (RLIMIT_NOFILE): accept() fails with EMFILE",
                process.comm,
                process.pid,
                number(process.open_fds),
                number(process.fd_limit)
            ));
        }
        evidence.push(format!(
            "{} {} no inode: accept() never returned {}",
            explanation::sockets(group.count()),
            n.have,
            n.them
        ));
        evidence.push(match &group.accused {
            Some(accused) => format!(
                "most of its stuck connections, {} of them, are of another finding: {}{}",
                accused.count,
                accused.verdict,
                accused
                    .blamed
                    .map(|frame| format!(
                        " in {}",
                        frame.function.clone().unwrap_or_else(|| frame.place())
                    ))
                    .unwrap_or_default()
            ),
            None => {
                "no other stuck connection of this process is known: look for what else it keeps \
                     open (ls -l /proc/PID/fd)"
                    .to_owned()
            }
        });
        Explanation {
            summary: format!(
                "{} died waiting for accept(), which fails: the process is out of file descriptors",
                explanation::sockets(group.count())
            ),
            evidence,
            advice:
                "Mend the leak named here: these connections are its victims. A higher limit only \
                     buys time."
                    .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "Every open connection and file takes a descriptor, and a process may have only so \
                       many. A leak has used them up, accept() fails with EMFILE, and new clients wait in \
                       the accept queue until they give up.",
            proof: "The connections were never accepted (no inode), and the listening process has as many \
                    descriptors open as its RLIMIT_NOFILE allows.",
            blamed: "the function of the finding with most stuck connections of that process",
            remedy: "Mend that leak. Raising the limit only delays the same end.",
        }
    }
}
