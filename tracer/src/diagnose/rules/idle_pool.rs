//! `idle-pool`: a client keeps connections that the server has closed. Proof: connected here, and
//! the last answer read in full: only the FIN unread, or taken along by the read of the answer's end;
//! bounded unless it goes on growing. That a pool has it is never sure.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::diagnose::explanation;
use crate::{
    model::{
        listeners::Heard,
        verdict::{Severity, Verdict, VerdictDoc},
    },
    track::growth::Growth,
};

pub struct IdlePool;

impl Rule for IdlePool {
    fn verdict(&self) -> Verdict {
        Verdict::IdlePool
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        if !view.is_pooled_perhaps() {
            return Answer::No;
        }
        if view.activation().is_at_work_beyond_doing_nothing() {
            return Answer::No;
        }
        // Node reads what it keeps, so it would have taken the FIN: the program has left the answer, or paused it.
        let is_left_in_node = matches!(view.heard(), Some(Heard::By(_))) && view.socket.recv_q > 0;
        let mut pids = view.holder_pids().iter();
        if is_left_in_node && pids.any(|pid| view.context.some_loop_waits(*pid)) {
            return Answer::No;
        }
        let again = view.context.was_turned_to_again(view.socket.cookie);
        // Of the same server's answers to the same process some were left unread: so may this one's end have been, by
        // a program that reads ahead.
        if !again && view.others_left_answers() {
            return Answer::No;
        }
        let looks = Looks::default()
            .look(view.socket.history.used.is_some(), "", "its use was not seen")
            .look(
                view.socket.history.used.is_none() || view.whole_life_seen(),
                "",
                "its opening was not seen",
            )
            .doubt(
                view.direction().is_none(),
                "who opened it was not seen: no listener here has its port",
            )
            // Reuse would be the positive fact, but of a connection only the last use is known: the shape alone is left.
            .doubt(
                !again,
                "that connections are used again was not seen: one that is forgotten after its answer looks \
                 the same",
            )
            .doubt(
                again,
                "its thread used another one in between, as a pool's does, and as one piece of work does that uses several \
                 in turn: one that is forgotten after that looks the same",
            )
            .doubt(
                view.is_passed_over(),
                "while it had idle ones to this server its thread opened others to it, again and again, which a pool \
                 has no need of unless it keeps several kinds",
            );
        Answer::Yes(Proof::earned(
            looks,
            EvidenceSource::Opened,
            Evidence::Socket,
        ))
    }

    /// A pool is bounded; what goes on growing is a leak whatever it was meant to be.
    fn severity(&self, group: &Group<'_>) -> Severity {
        if group.still_growing() {
            Severity::Leak
        } else if parts_of_one_use(group).is_some() {
            Severity::Suspect
        } else {
            Severity::Info
        }
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let seen = |view: &&SocketView<'_>| view.direction().is_some();
        let opened = group.views.iter().filter(seen).count();
        let mut evidence = Vec::new();
        if opened > 0 {
            evidence.push(format!(
                "{} {} opened here by connect()",
                explanation::sockets(opened),
                explanation::number(opened).were
            ));
        }
        evidence.extend(read_in_full(group));
        if let Some(ago) = explanation::ago(group, |view| view.socket.history.used) {
            evidence.push(format!("last used {ago} ago"));
        }
        evidence.push(match group.growth() {
            Growth::Steady(rate) => {
                format!("the number goes on growing, {rate:.1} per minute: not a bounded pool")
            }
            Growth::Uneven(rate) => format!(
                "the number grew lately, by {rate:.1} per minute, but not evenly: a pool that fills does so, too"
            ),
            Growth::Stopped => "the number did not go on growing while it was watched".to_owned(),
            Growth::TooShort => {
                "not watched for the five minutes it takes to tell a bounded pool from a leak".to_owned()
            }
        });
        if let Some([first, second, third, fourth]) = parts_of_one_use(group) {
            evidence.push(format!(
                "of the time since the first was opened each quarter brought more of them ({first}, {second}, {third}, {fourth}), \
                 and none was used for as long as that: a pool would use those that it has"
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} of a client that waits for no answer{} {} already closed by the server",
                explanation::sockets(group.count()),
                group.function().map(|name| format!(" (opened in {name})")).unwrap_or_default(),
                n.were
            ),
            evidence,
            advice: "That a pool keeps them is not proven: connections that are forgotten after their answer look the same. \
                     If it is one: harmless while the number is bounded, but the next request on such a connection fails: \
                     make the pool's idle timeout shorter than the server's, or let it check idle connections before use. If \
                     the number grows, connections are taken from the pool and not given back: close the response on every \
                     path."
                .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "A client keeps finished connections in a pool for later use. The server has \
                       closed them after its idle timeout, and the pool has not noticed.",
            proof: "The process itself opened the connection, the last answer was read in full, \
                       and only the server's FIN is unread.",
            blamed: "the function that opened the connection",
            remedy: "Harmless while bounded, but the next request on such a connection fails: \
                       make the pool's idle timeout shorter than the server's. A number that grows \
                       is a leak: give every connection back, also after errors.",
        }
    }
}

/// More of them in each quarter of the time since the first was opened, and none that was turned to again so much later: how
/// many in each.
fn parts_of_one_use(group: &Group<'_>) -> Option<[usize; 4]> {
    const FEW: usize = 10;
    let opened = |view: &SocketView<'_>| view.socket.history.opened.map(|opened| opened.at);
    let mut at: Vec<u64> = group.views.iter().map(opened).collect::<Option<_>>()?;
    at.sort_unstable();
    let first = *at.first()?;
    let quarter = group.now.saturating_sub(first) / 4;
    let lasted = |view: &SocketView<'_>| {
        let history = *view.socket.history;
        let used = history.opened.zip(history.used);
        used.is_some_and(|(opened, used)| used.at.saturating_sub(opened.at) >= quarter)
    };
    let used_again = |view: &SocketView<'_>| {
        lasted(view) && view.context.was_turned_to_again(view.socket.cookie)
    };
    if at.len() <= FEW || group.views.iter().any(used_again) {
        return None;
    }
    let mut parts = [0; 4];
    for at in at {
        let nth = (at - first).checked_div(quarter)?.min(3);
        *parts.get_mut(usize::try_from(nth).ok()?)? += 1;
    }
    parts.iter().all(|count| *count > 0).then_some(parts)
}

/// How it is known that no answer lies unread.
fn read_in_full(group: &Group<'_>) -> Vec<String> {
    let unread = explanation::how_many(group, |view| view.socket.recv_q == 1);
    let unanswered = explanation::how_many(group, |view| {
        view.socket.recv_q == 1 && view.is_last_written()
    });
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method itself is not general enough over the view's lifetime"
    )]
    let parting = explanation::how_many(group, |view| view.has_parting_words());
    let along = group.count() - unread - parting;
    let mut lines = Vec::new();
    if unread > unanswered {
        lines.push(format!(
            "{} of {}: Recv-Q is 1: only the server's FIN is unread, the last answer was read \
             in full",
            unread - unanswered,
            group.count()
        ));
    }
    if unanswered > 0 {
        lines.push(format!(
            "{unanswered} of {}: Recv-Q is 1: only the server's FIN is unread, and no answer came to what was written last",
            group.count()
        ));
    }
    if parting > 0 {
        lines.push(format!(
            "{parting} of {}: Recv-Q is {}: it came together with the FIN, long after the last answer was read, as \
             what a server says when it hangs up",
            group.count(),
            explanation::recv_q(group)
        ));
    }
    if along > 0 {
        lines.push(format!(
            "{along} of {}: Recv-Q is 0: the read that got the end of the last answer took the \
             server's FIN along, and no read has returned 0",
            group.count()
        ));
    }
    lines
}
