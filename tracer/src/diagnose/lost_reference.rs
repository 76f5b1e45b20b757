//! `lost-reference`: used, then forgotten: the object was dropped or an error path skipped `close()`.
//! Proof: the last operation was seen, nothing came after it, and its thread is no longer there.

use super::{Answer, Case, Group, Rule, Telling, Words, words, yes};
use crate::model::verdict::{Lesson, Severity, Verdict};

pub struct LostReference;

impl Rule for LostReference {
    fn verdict(&self) -> Verdict {
        Verdict::LostReference
    }

    fn check(&self, case: &Case<'_>) -> Answer {
        let used = case.socket.history.used;
        if used.is_none() || case.socket.history.eof.is_some() || case.socket.holders.is_empty() {
            return Answer::No;
        }
        // Still watched by an event loop, or still being worked on: another story.
        if case.is_watched()
            || case.still_at_it(used).is_some()
            || case.may_be_at_it(used)
            || case.threads_blocked_writing() > 0
        {
            return Answer::No;
        }
        // Taken by a read that nobody saw, the FIN may have been told to the program as well.
        if case.socket.recv_q == 0 && !case.fin_came_with_data() {
            return Answer::No;
        }
        let sure = case.whole_life_seen()
            && case.epoll_known()
            && case.threads_known()
            && case.sees_reads()
            && case.sees_writes()
            && !case.was_told_once();
        yes(words::confidence(case, sure), Telling::LastUsed)
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>) -> Words {
        let mut evidence = Vec::new();
        if let Some(touch) = group.oldest().and_then(|case| case.socket.history.used) {
            let ago = words::ago(group, |case| case.socket.history.used).unwrap_or_default();
            evidence.push(format!(
                "the last operation was {}{}, most recently {ago} ago; no {} came after it",
                words::deed(&touch),
                words::within(group),
                observed(group),
            ));
        }
        let before = words::how_many(group, |case| {
            case.last_touch().is_some_and(|t| t.at < case.socket.since)
        });
        if before > 0 {
            evidence.push(format!(
                "{before} of {} were last touched before the peer hung up: nobody noticed that it did",
                group.count()
            ));
        }
        evidence.push(match words::recv_q(group).as_str() {
            "1" => "Recv-Q is 1: only the peer's FIN is unread".to_owned(),
            "0" => "Recv-Q is 0: the FIN came in together with the last data".to_owned(),
            other => format!("Recv-Q is {other}: data was left unread"),
        });
        let looked = group
            .cases
            .iter()
            .all(|case| case.threads_known() && case.epoll_known());
        evidence.push(if looked {
            "no thread is working on them".to_owned()
        } else {
            "no thread was seen working on them, but not all could be looked at".to_owned()
        });
        evidence.extend(words::watching(group));
        evidence.extend(words::age_evidence(group));
        Words {
            summary: format!(
                "{} were last used{} and then forgotten without close()",
                words::sockets(group.count()),
                words::within(group)
            ),
            evidence,
            advice: format!(
                "Follow the connection out of {}: on some path (an error, an early return, a dropped \
                 response) nobody closes it. {}",
                group
                    .function()
                    .unwrap_or_else(|| "the function that used it last".to_owned()),
                words::NOT_KEEPALIVE
            ),
        }
    }

    fn lesson(&self) -> Lesson {
        Lesson {
            happened: "The program used the connection, then forgot it: an error path, an early \
                       return or a dropped object skipped close().",
            proof: "The last operation was seen, nothing came after it, no epoll set will tell of \
                       it again, and the thread that did it has moved on.",
            blamed: "the function that used the connection last",
            remedy: "Follow the connection out of that function and close it on every path.",
        }
    }
}

/// What would have been seen.
fn observed(group: &Group<'_>) -> &'static str {
    let case = group.oldest();
    match (
        case.is_some_and(Case::sees_reads),
        case.is_some_and(Case::sees_writes),
    ) {
        (true, true) => "read, write or close()",
        (true, false) => "read or close()",
        (false, true) => "write or close()",
        (false, false) => "close()",
    }
}
