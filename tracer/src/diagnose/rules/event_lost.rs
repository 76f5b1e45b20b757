//! `event-lost`: the event loop cannot learn that the peer hung up. Proof: an epoll set holds the
//! descriptor, but its mask lacks what a FIN raises; or a one-shot was spent; or a read after the FIN left
//! data behind, of which an edge does not tell again, and the loop waits.

use tracer_common::event::TELLS_OF_FIN;

use super::looks::was_something_asked;
use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::diagnose::{
    explanation,
    watching::{EDGE, ONE_SHOT, PRIVATE},
};
use crate::model::verdict::{Severity, Verdict, VerdictDoc};

pub struct EventLost;

/// A registration without any of these is one that was not taken out. One-shots and edges count as asked for.
const ASKS: u32 = TELLS_OF_FIN | 0x2 | 0x4 | ONE_SHOT | EDGE;

impl Rule for EventLost {
    fn verdict(&self) -> Verdict {
        Verdict::EventLost
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        if view.socket.recv_q == 0 || view.socket.history.eof.is_some() {
            return Answer::No;
        }
        let Some(watch) = view.watch() else {
            return Answer::No;
        };
        let Some(loss) = Loss::of(watch.events) else {
            return Answer::No;
        };
        // Its runtime made the registration, and knows how to deal with it.
        if view.runs_tasks() || loss == Loss::Edge && !(view.was_told_once() && left_behind(view)) {
            return Answer::No;
        }
        let looks = Looks::default()
            .look(
                view.waiter(watch).is_some(),
                "a thread waits for events of that very set",
                "nobody was seen waiting for that set",
            )
            .look(false, "", loss.otherwise())
            .doubt(
                watch.events & ASKS == 0,
                "the loop asks for nothing on it at all: it may have been put aside until whoever takes its data goes on",
            )
            .doubt(
                loss == Loss::OneShotSpent
                    && (view.holder_pids().iter()).any(|pid| view.context.is_some_kept(*pid)),
                "a thread is kept inside the program: such a registration gives the connection to one thread, which arms it again \
                 when it is done",
            )
            .doubt(
                was_something_asked(view),
                "the process has asked a server since, which has not answered",
            )
            .look(view.nothing_lost(), "", "some events were lost");
        Answer::Yes(Proof::earned(
            looks,
            EvidenceSource::LastUsed,
            Evidence::Loss(loss),
        ))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let oldest = group.oldest();
        let events = oldest
            .and_then(SocketView::watch)
            .map_or(0, |watch| watch.events);
        let loss = match evidence {
            Evidence::Loss(loss) => *loss,
            _ => Loss::NotAsked,
        };
        let mut evidence = vec![
            format!(
                "an epoll set holds {} {}, events {events:#x}: {}",
                n.their,
                n.descriptors,
                loss.means()
            ),
            format!(
                "Recv-Q is {}: the end of the stream lies unread",
                explanation::recv_q(group)
            ),
        ];
        if let Some(operation) = oldest.and_then(SocketView::last_operation) {
            evidence.push(format!(
                "the last thing done to the oldest was {}{}, {} ago",
                explanation::kind(&operation),
                explanation::within(group),
                explanation::span(group.now.saturating_sub(operation.at))
            ));
        }
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {} watched by an event loop that is not told the peer hung up{}",
                explanation::sockets(group.count()),
                n.are,
                group
                    .function()
                    .map(|name| format!("; {} {} last touched in {name}", n.they, n.were))
                    .unwrap_or_default()
            ),
            evidence,
            advice: format!("{} {}", loss.remedy(), explanation::NOT_KEEPALIVE),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The connection is in an event loop's epoll set, but in a way that does not report \
                       the peer's hang-up: readability is not asked for, or a one-shot event was \
                       delivered and not armed again, or an edge was delivered and not read to the end.",
            proof: "The mask of the descriptor in /proc/PID/fdinfo, and the unread FIN in Recv-Q; of an edge \
                    also that it was used after the FIN came, that data was left unread, and that the \
                    loop waits for the next event.",
            blamed: "the function that touched the connection last: it, or what it returned to, should \
                     have asked for the next event",
            remedy: "Ask for EPOLLIN or EPOLLRDHUP at all times; arm one-shot registrations again on \
                     every path; after an edge, read until EAGAIN or 0.",
        }
    }
}

/// Used after the FIN came, and yet more than the FIN is unread. A FIN that comes after the last read is an
/// edge of its own, so the loop was told of it (`net/ipv4/tcp_input.c:tcp_fin`).
fn left_behind(view: &SocketView<'_>) -> bool {
    let socket = view.socket;
    let used = socket.history.used;
    socket.recv_q > 1 && used.is_some_and(|used| used.at >= socket.since)
}

/// Why the loop is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    NotAsked,
    OneShotSpent,
    Edge,
}

impl Loss {
    fn of(events: u32) -> Option<Self> {
        if events & ONE_SHOT != 0 && events & !PRIVATE == 0 {
            Some(Self::OneShotSpent)
        } else if events & TELLS_OF_FIN == 0 {
            Some(Self::NotAsked)
        } else if events & EDGE != 0 {
            Some(Self::Edge)
        } else {
            None
        }
    }

    /// What else it may be, which no look excludes.
    const fn otherwise(self) -> &'static str {
        match self {
            Self::NotAsked | Self::OneShotSpent => {
                "whether it is left alone on purpose while a timer, a child or a worker has to do with it is not known"
            }
            Self::Edge => "another thread may have been handed it",
        }
    }

    fn means(self) -> &'static str {
        match self {
            Self::NotAsked => "neither EPOLLIN nor EPOLLRDHUP, so a FIN raises nothing",
            Self::OneShotSpent => "a one-shot event was delivered and never armed again",
            Self::Edge => {
                "edge-triggered: the event was delivered once, and was not read to the end"
            }
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::NotAsked => {
                "Keep EPOLLRDHUP (or EPOLLIN) in the mask even while nothing is expected from the peer."
            }
            Self::OneShotSpent => {
                "Arm the descriptor again (EPOLL_CTL_MOD) on every path that is done with an event, or \
                 close it."
            }
            Self::Edge => "After an edge, read until EAGAIN or 0 before waiting again.",
        }
    }
}
