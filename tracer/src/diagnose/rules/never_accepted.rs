//! `never-accepted`: dead in the accept queue. Proof: no `struct socket` and no inode, which `accept()`
//! gives; the listener is known by namespace and port.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::{
    diagnose::{
        context::{acceptors::Acceptance, waits},
        explanation,
    },
    model::{
        input::Thread,
        stack::Frame,
        verdict::{Severity, Verdict, VerdictDoc},
    },
};

pub struct NeverAccepted;

/// Who should accept, and what it does instead.
#[derive(Clone, Copy, Debug)]
pub struct Acceptor<'a> {
    /// Blocked or busy in something else.
    pub thread: Option<&'a Thread>,
    /// Where the last connection was accepted, when no thread is.
    pub frames: Option<&'a [Frame]>,
    has_accepted: bool,
    /// All of the threads that serve what others accept are, and this one is one of so many.
    of_serving: Option<usize>,
    /// Who accepts, and waits for those.
    for_whom: Option<&'a Thread>,
}

impl Rule for NeverAccepted {
    fn verdict(&self) -> Verdict {
        Verdict::NeverAccepted
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        if !view.is_unaccepted() {
            return Answer::No;
        }
        let listener = view
            .listener()
            .map_or(&[][..], |listener| &listener.holders);
        let port = view.socket.endpoints().local.port();
        let acceptor = match (view.context).acceptance(view.holder_pids(), port, listener) {
            Acceptance::Kept {
                thread,
                has_accepted,
            } => Acceptor {
                thread: Some(thread),
                frames: None,
                has_accepted,
                of_serving: None,
                for_whom: None,
            },
            Acceptance::Served {
                thread,
                all,
                for_whom,
            } => Acceptor {
                thread: Some(thread),
                frames: None,
                has_accepted: false,
                of_serving: Some(all),
                for_whom,
            },
            Acceptance::NobodyIsKept(frames) => Acceptor {
                thread: None,
                frames,
                has_accepted: frames.is_some(),
                of_serving: None,
                for_whom: None,
            },
        };
        // What happened shows in the socket itself; who is to blame is another question.
        let looks =
            Looks::default().look(view.listener().is_some(), "", "its listener was not found");
        Answer::Yes(Proof::earned(
            looks,
            EvidenceSource::Holders,
            Evidence::Acceptor(Box::new(acceptor)),
        ))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let acceptor = match evidence {
            Evidence::Acceptor(acceptor) => Some(acceptor),
            _ => None,
        };
        let listener = group.oldest().and_then(SocketView::listener);
        let place = match (listener, group.local_port()) {
            (Some(listener), _) => format!("the listener on {}", listener.endpoints.local),
            (None, Some(port)) => format!("port {port}, whose listener was not found"),
            (None, None) => "a listener that was not found".to_owned(),
        };
        let mut evidence = vec![format!(
            "{} {} no inode: accept() never returned {}",
            explanation::sockets(group.count()),
            n.have,
            n.them
        )];
        if let Some(listener) = listener {
            evidence.push(format!(
                "the accept queue of {} holds {} (its backlog is {})",
                listener.endpoints.local,
                explanation::sockets(listener.waiting as usize),
                listener.backlog
            ));
        }
        evidence.push(format!(
            "{} Recv-Q is {}: {} nobody will answer, the FIN counting one byte",
            n.their,
            explanation::recv_q(group),
            explanation::agree(group.count(), "a request", "requests")
        ));
        evidence.extend(acceptor.and_then(|acceptor| acceptor.evidence(group)));
        evidence.extend(explanation::age_evidence(group));
        let doing = acceptor.and_then(|acceptor| acceptor.doing(group));
        Explanation {
            summary: format!(
                "{} died waiting for accept() on {place}{}",
                explanation::sockets(group.count()),
                doing.unwrap_or_default()
            ),
            evidence,
            advice: "Find out why the program stopped calling accept(): see what its threads are \
                     doing. A larger backlog only lets more connections die. Accept in a \
                     thread that does nothing else, or bound the work done between two accepts."
                .to_owned(),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "A client's connection is completed by the kernel before the program knows of \
                       it: it waits in the accept queue. The program does not call accept(), so the \
                       client gives up and hangs up, and the connection stays, dead, in the queue.",
            proof: "The socket has no inode, which only accept() gives it, and belongs to a \
                       listener whose process is known.",
            blamed: "what the thread that should accept is doing now",
            remedy: "Find out what keeps that thread (a lock, a slow request, a full pool). \
                       Accept in a thread that does nothing else. A larger backlog only lets more \
                       connections die.",
        }
    }
}

impl Acceptor<'_> {
    fn evidence(&self, group: &Group<'_>) -> Option<String> {
        let waits = &group.oldest()?.context.waits;
        if let Some((thread, all)) = self.thread.zip(self.of_serving) {
            let one = waits::one(waits, thread, group.now);
            return Some(match self.for_whom {
                Some(accepts) => format!(
                    "who accepted before: {}; all {all} that serve what it has accepted are blocked: {one}",
                    waits::one(waits, accepts, group.now)
                ),
                None => format!(
                    "no thread that accepts is blocked, but all {all} that serve what it has accepted are: {one}"
                ),
            });
        }
        match (self.thread, self.has_accepted) {
            (Some(thread), true) => Some(format!(
                "who accepted before, or shares its work: {}",
                waits::one(waits, thread, group.now)
            )),
            (Some(thread), false) => Some(format!(
                "the only kind of thread that could: {}",
                waits::one(waits, thread, group.now)
            )),
            (None, true) => Some(
                "no thread that accepts is blocked: its code waits for something before it accepts \
                 the next"
                    .to_owned(),
            ),
            (None, false) => None,
        }
    }

    /// Ends the summary.
    fn doing(&self, group: &Group<'_>) -> Option<String> {
        let within = group.function().map(|name| format!(" in {name}"));
        let waits = &group.oldest()?.context.waits;
        match self.thread {
            Some(thread) => {
                let other = waits.of(thread);
                let doing = match other {
                    waits::WaitsFor::Cpu if waits.computes(thread).is_some() => {
                        "computes".to_owned()
                    }
                    waits::WaitsFor::Cpu => "was on the CPU when looked at".to_owned(),
                    _ => format!("waits for {}", other.words()),
                };
                let who = match self.of_serving {
                    Some(all) => format!(
                        "all {all} threads that serve what was accepted are blocked, and one of them"
                    ),
                    None => "the thread that should accept".to_owned(),
                };
                Some(format!("; {who} {doing}{}", within.unwrap_or_default()))
            }
            None => Some(format!("; the last accept() was called{}", within?)),
        }
    }
}
