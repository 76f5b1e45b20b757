//! `parked`: taken out of its event loop and not put back. Proof: it was removed from its epoll set, or its mask lost
//! input, after the last read; no set asks for its input now; the loop is alive; and others of the process were taken
//! out, put back and closed.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::{
    diagnose::{explanation, left_loop::LeftLoop},
    model::{
        input::EpollOperation,
        verdict::{Confidence, Severity, Verdict, VerdictDoc},
    },
};

pub struct ParkedRule;

/// Fewer others that came back and ended prove no habit: what only pauses may be of no more use.
const FEWEST_FINISHED: usize = 3;

/// How it was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    pub left: LeftLoop,
    /// Others of the process that were taken out, put back and closed.
    pub finished: usize,
}

impl Rule for ParkedRule {
    fn verdict(&self) -> Verdict {
        Verdict::Parked
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let Some(parked) = parked(view) else {
            return Answer::No;
        };
        let looks = Looks::default()
            .look(
                view.epoll_known(),
                "no epoll set asks for its input",
                "not all epoll sets could be looked at",
            )
            .look(
                view.holder_pids()
                    .iter()
                    .any(|pid| view.context.some_loop_waits(*pid)),
                "the event loop is alive",
                "no event loop of the process was seen waiting",
            )
            .look(!view.runs_tasks(), "", "the program runs tasks of its own")
            .look(view.nothing_lost(), "", "some events were lost")
            .doubt(
                !parked.left.is_own,
                "it left its epoll set before that was watched; others that were used last at the same place were seen \
                 to be taken out",
            );
        let source = if parked.left.by_handler {
            EvidenceSource::TakenOut
        } else {
            EvidenceSource::LastUsed
        };
        let proof = Proof::earned(looks, source, Evidence::Parked(Box::new(parked)));
        Answer::Yes(proof.at_most(Confidence::Medium))
    }

    fn severity(&self, group: &Group<'_>) -> Severity {
        if group.still_growing() {
            Severity::Leak
        } else {
            Severity::Suspect
        }
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let Evidence::Parked(parked) = evidence else {
            return Explanation::default();
        };
        let n = explanation::number(group.count());
        let change = group
            .views
            .iter()
            .find_map(|view| match &view.proof.as_ref()?.evidence {
                Evidence::Parked(parked) if parked.left.is_own => Some(parked.left.change),
                _ => None,
            });
        let how = change.map(|change| {
            let ago = explanation::span(group.now.saturating_sub(change.at));
            let how = match change.change {
                EpollOperation::Remove => "it was removed from its epoll set",
                _ => "its epoll mask was set to one without input",
            };
            format!("the oldest that was seen: {how} {ago} ago, after its last use, and not put back since")
        });
        let mut evidence: Vec<String> = how.into_iter().collect();
        evidence.extend([
            format!(
                "{} of the process were taken out, put back and closed meanwhile",
                explanation::sockets(parked.finished)
            ),
            format!("{} Recv-Q is {}", n.their, explanation::recv_q(group)),
        ]);
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} taken out of the event loop and not put back{}",
                explanation::sockets(group.count()),
                n.were,
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "Find what each waits for before it is put back (an answer, a slot, a timer), and give that \
                 a time limit. Keep EPOLLRDHUP in the mask meanwhile, so that a client that leaves is noticed. \
                 {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program takes a connection out of its event loop while it waits for something \
                       else on its behalf, and puts it back afterwards. This one was not put back, so \
                       nobody is told that the client has left.",
            proof: "The removal, or a mask without input, was seen after the last read; the loop goes on; \
                    at least three others were taken out, put back and closed.",
            blamed: "the function that took the connection out; the one that used it last where only \
                     the event loop itself was seen to do it",
            remedy: "Give what it waits for a time limit, and keep EPOLLRDHUP in the mask meanwhile.",
        }
    }
}

fn parked(view: &SocketView<'_>) -> Option<Parked> {
    let finished = view
        .context
        .loop_habits
        .finished(view.last_operation()?.pid);
    if finished < FEWEST_FINISHED {
        return None;
    }
    let left = view.left_loop()?;
    Some(Parked { left, finished })
}
