//! `never-read`: accepted, then dropped. Proof: the accept was seen and no read since; the request
//! lies in the receive queue; no epoll set will tell of it again; no crowd of blocked workers that
//! would explain a queue. All of it must have been looked at: reads by a hook, epoll sets and threads.

use super::{Answer, Case, Group, Rule, Telling, Words, words, yes};
use crate::model::{
    socket::Deed,
    verdict::{Lesson, Severity, Verdict},
};

pub struct NeverRead;

impl Rule for NeverRead {
    fn verdict(&self) -> Verdict {
        Verdict::NeverRead
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let history = case.socket.history;
        let accepted = history
            .opened
            .is_some_and(|opened| opened.deed == Deed::Accept);
        let untouched = history.used.is_none() && history.eof.is_none();
        if !accepted || !untouched || case.socket.recv_q == 0 || !case.sees_reads() {
            return Answer::No;
        }
        let explained_otherwise = !case.epoll_known()
            || !case.threads_known()
            || case.is_watched()
            || case.threads_blocked_writing() > 0
            || case.still_at_it(history.opened).is_some();
        if explained_otherwise {
            return Answer::No;
        }
        let sure = case.nothing_lost() && !case.was_told_once();
        yes(words::confidence(case, sure), Telling::Opened)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let mut evidence = vec![
            if group.oldest().is_some_and(Case::sees_writes) {
                "accept() was seen, and no read or write on them since".to_owned()
            } else {
                "accept() was seen, and no read on them since".to_owned()
            },
            format!(
                "Recv-Q is {}: the request and the FIN (one byte) lie unread",
                words::recv_q(group)
            ),
        ];
        evidence.extend(words::watching(group));
        Words {
            summary: format!(
                "{} were accepted{} and never read",
                words::sockets(group.count()),
                words::within(group)
            ),
            evidence,
            advice: format!(
                "Follow what{} does with the descriptor accept() returns: some path neither hands it \
                 to a handler nor closes it. {}",
                group
                    .function()
                    .map_or_else(|| " the program".to_owned(), |name| format!(" {name}")),
                words::NOT_KEEPALIVE
            ),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
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
