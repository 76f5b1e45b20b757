//! `owner-blocked`: one thread serves this socket and is stuck in something else: a lock, another server, the
//! disk, or a long computation. Proof: the call that touched the socket last still runs in that thread, and it is
//! known what it waits for; or an event loop that would be told of the socket waits for something else; or the only
//! suspended task that has the socket does.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView,
    at_work::{AtWork, How},
    computing, handed_over,
    looks::Looks,
    suspended,
};
use crate::{
    diagnose::{
        context::{
            activations::Activation,
            behind::Behind,
            waits::{self, WaitsFor},
        },
        explanation,
    },
    model::{
        input::Thread,
        report::Direction,
        socket::LastOperation,
        verdict::{Confidence, Severity, Verdict, VerdictDoc},
    },
};

pub struct OwnerBlocked;

impl Rule for OwnerBlocked {
    fn verdict(&self) -> Verdict {
        Verdict::OwnerBlocked
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        // What keeps that thread is this socket itself.
        if view.reads_on() {
            return Answer::No;
        }
        if let Some(at) = computing::may_be_busy(view) {
            return Answer::AskAgainAt(at);
        }
        let found = computing::computes(view)
            .or_else(|| called(view))
            .or_else(|| in_loop(view))
            .or_else(|| suspended::had(view))
            .or_else(|| suspended::one_of(view))
            .or_else(|| handed_over::forked(view))
            .or_else(|| handed_over::started(view))
            .or_else(|| handed_over::closes(view));
        let Some(mut work) = found else {
            return Answer::No;
        };
        work.behind = view.context.behind(work.thread);
        let looks = looks(view, &work);
        let evidence = Evidence::AtWork(Box::new(work));
        let proof = Proof::earned(looks, EvidenceSource::ServingThread, evidence);
        Answer::Yes(proof.at_most(match work.how {
            How::Call(sameness) if sameness.is_sure() => Confidence::High,
            // Busy is not busy with this socket.
            How::Computes {
                call: Some(call), ..
            } if call.is_sure() && call.in_call => Confidence::High,
            How::Place
            | How::Began
            | How::AtOnce
            | How::Started
            | How::Closes(_)
            | How::OneOf(_) => Confidence::Low,
            _ => Confidence::Medium,
        }))
    }

    fn severity(&self, group: &Group<'_>) -> Severity {
        if group.views.iter().all(is_new) {
            Severity::Suspect
        } else {
            Severity::Leak
        }
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let Evidence::AtWork(work) = evidence else {
            return Explanation::default();
        };
        let mut evidence = Vec::new();
        if let How::Has = work.how {
            evidence.extend(suspended::has(group, work.thread));
        } else if let How::OneOf(crowd) = work.how {
            evidence.extend(suspended::are_many(group, crowd));
        } else if let How::Closes(_) | How::Started | How::Forked = work.how {
            evidence.extend(handed_over::evidence(group, work));
        } else if let Some((view, operation)) = group
            .oldest()
            .and_then(|view| Some((view, by(view, work.thread)?)))
        {
            let relation = if view.last_operation() == Some(operation) {
                "was the last to touch"
            } else {
                "had touched"
            };
            evidence.push(format!(
                "{} {relation} the oldest: {}, {} ago; {}",
                operation.actor(),
                explanation::kind(&operation),
                explanation::span(group.now.saturating_sub(operation.at)),
                work.how.says()
            ));
            evidence.push(match work.how {
                How::Computes { since, .. } => {
                    computing::says(&view.context.waits, work.thread, since, group.now)
                }
                _ => format!(
                    "now: {}",
                    waits::one(&view.context.waits, work.thread, group.now)
                ),
            });
        }
        evidence.extend(share(group, work.thread));
        evidence.extend(work.behind.and_then(|behind| started(group, behind)));
        evidence.push(format!(
            "{} Recv-Q is {}",
            n.their,
            explanation::recv_q(group)
        ));
        evidence.extend(explanation::age_evidence(group));
        let doing = match work.how {
            How::Computes { .. } => "computes".to_owned(),
            _ => match work.behind {
                Some(behind) => format!(
                    "waits for goroutines that wait for {}",
                    behind.waits.words()
                ),
                None => format!("waits for {}", work.waits.words()),
            },
        };
        let waits = work.behind.map_or(work.waits, |behind| behind.waits);
        Explanation {
            summary: format!(
                "{} {} for the {} that {} {}, which {doing}{}",
                explanation::sockets(group.count()),
                explanation::agree(group.count(), "waits", "wait"),
                work.thread.actor().kind(),
                if matches!(work.how, How::Has) {
                    "has"
                } else {
                    "serves"
                },
                n.them,
                match work.how {
                    How::Computes { .. } => computing::within(group, work.thread),
                    _ => explanation::within(group),
                }
            ),
            evidence,
            advice: format!(
                "{} The connections are closed when it goes on; they are lost if it never does. {}",
                waits.remedy(),
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "A thread was serving the connection and got stuck in something else: it waits for \
                       a lock, for an answer from another server, for the disk, or it computes. Meanwhile \
                       the client hung up. The thread would close the connection if it went on.",
            proof: "The call that touched the connection last still runs: the thread has the same frames \
                    and has not left a CPU since but for the present wait, or it waits on a connection \
                    that this call opened; or the thread whose epoll set would tell of the connection \
                    waits for something else; or the coroutines of a suspended task, and of no other one, lead to \
                    it; or the virtual thread that touched it, and no other client, is still in the function that did; or it was on the CPU at every look for at least a second, and samples do not show that it left the \
                    call. Where nothing of it was read, also: the process that holds it was started right after it was \
                    accepted, and waits for something.",
            blamed: "the function in which that thread is now, or those are that it has started and waits for",
            remedy: "Put a time limit on what blocks the thread, or move it off the thread that serves \
                     connections.",
        }
    }
}

/// The last operation that this one made.
fn by(view: &SocketView<'_>, thread: &Thread) -> Option<LastOperation> {
    let history = *view.socket.history;
    let operations = [history.eof, history.used, history.opened];
    let own = operations
        .into_iter()
        .flatten()
        .filter(|operation| operation.actor() == thread.actor());
    own.max_by_key(|operation| operation.at)
        .or_else(|| view.last_operation())
}

/// How many of the goroutines or virtual threads wait at this very place, with what they wait in and who called that.
fn share(group: &Group<'_>, thread: &Thread) -> Option<String> {
    let view = group.oldest()?;
    let histories: Vec<_> = group
        .views
        .iter()
        .map(|view| *view.socket.history)
        .collect();
    let (here, all) = view.context.share_of(thread, &histories)?;
    let place = place(view, thread)?;
    Some(format!(
        "{here} of {all} {}s that touched these connections and still exist wait in {place}",
        thread.actor().kind()
    ))
}

/// What it waits in, and which function of the program called that.
pub(super) fn place(view: &SocketView<'_>, thread: &Thread) -> Option<String> {
    let own = view.context.blame(&thread.stack)?;
    let name = |at: usize| thread.stack.get(at)?.function.clone();
    Some(match own.checked_sub(1).and_then(name) {
        Some(inner) => format!("{inner} ← {}", name(own)?),
        None => name(own)?,
    })
}

/// Those that it waits for.
fn started(group: &Group<'_>, behind: Behind<'_>) -> Option<String> {
    let view = group.oldest()?;
    let by = if behind.own {
        "it has started"
    } else {
        "were started where it waits"
    };
    Some(format!(
        "of the {} goroutines that {by}, {} wait in {}: for {}",
        behind.all,
        behind.here,
        place(view, behind.thread)?,
        behind.waits.words()
    ))
}

fn called<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    let activation = view.activation();
    if view.is_pooled_perhaps() && !activation.is_at_work_beyond_doing_nothing() {
        return None;
    }
    let (thread, how) = match activation {
        Activation::Same(thread, sameness) => (thread, How::Call(sameness)),
        Activation::Possible(thread) => (thread, How::Place),
        Activation::Began(thread) => (thread, How::Began),
        Activation::AtOnce(thread) => (thread, How::AtOnce),
        _ => return None,
    };
    let waits = view.context.waits.of(thread);
    Some(AtWork {
        thread,
        waits,
        how,
        behind: None,
    })
}

/// A loop that would be told of the socket again and again, but for which nobody waits.
fn in_loop<'a>(view: &SocketView<'a>) -> Option<AtWork<'a>> {
    let watch = view.watch().filter(|watch| view.would_be_told(*watch))?;
    if view.waiter(watch).is_some() || view.may_run_elsewhere() {
        return None;
    }
    let last = view.last_operation()?;
    let thread = view.context.threads.seen(last.actor())?;
    let waits = view.context.waits.of(thread);
    let in_another = || view.context.waits_in_another_loop(last, thread);
    (waits.may_be_of_work() || in_another()).then_some(AtWork {
        thread,
        waits,
        how: How::Loop,
        behind: None,
    })
}

fn looks(view: &SocketView<'_>, work: &AtWork<'_>) -> Looks {
    if let How::Has | How::OneOf(_) = work.how {
        return suspended::looks(view);
    }
    if let How::Closes(_) | How::Started | How::Forked = work.how {
        return handed_over::looks(work);
    }
    let compared = match work.how {
        How::Call(sameness) => {
            sameness.frames || sameness.own_thread || sameness.one_each || sameness.is_sure()
        }
        _ => true,
    };
    Looks::default()
        .look(
            compared,
            "",
            "whether it is still in the functions that touched the connection could not be compared",
        )
        .look(view.whole_life_seen(), "", "its opening was not seen")
        .look(
            view.context.threads.knows(view.socket.cookie),
            "it has touched no other client since",
            "what else that thread has touched is not known",
        )
        .look(
            !matches!(work.waits, WaitsFor::Unknown),
            "",
            "what that thread waits for could not be read",
        )
        .doubt(
            view.was_answered_after_end(),
            "it was written to after the peer had ended its side: a client that only ended that is still served",
        )
        .doubt(
            is_new(view),
            "it was touched less than `--min-age` ago: who serves it may be slow, not stuck",
        )
        .look(view.nothing_lost(), "", "some events were lost")
}

/// It was stuck before somebody turned to it, as in a queue, and that was a short while ago.
fn is_new(view: &SocketView<'_>) -> bool {
    let used = view.socket.history.used.filter(|used| {
        used.at > view.socket.since && view.now.saturating_sub(used.at) < view.min_age
    });
    let is_client = view.direction() == Some(Direction::Accepted);
    used.is_some() && is_client && view.socket.history.eof.is_none()
}
