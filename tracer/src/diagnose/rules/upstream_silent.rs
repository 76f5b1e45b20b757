//! `upstream-silent`: served by asking another server, which does not answer, without a time limit. Proof: between
//! the last use of this socket and its next turn to another client, the same thread opened a connection or wrote to
//! one, and nothing has come back on it.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView, looks::Looks,
};
use crate::{
    diagnose::{
        context::pairs::{Link, Upstream},
        explanation,
    },
    model::{
        endpoint::Endpoint,
        verdict::{Confidence, Severity, Verdict, VerdictDoc},
    },
};

pub struct UpstreamSilent;

impl Rule for UpstreamSilent {
    fn verdict(&self) -> Verdict {
        Verdict::UpstreamSilent
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        let Some(upstream) = view.context.pairs.upstream_of(view.socket.cookie).copied() else {
            return Answer::No;
        };
        // Who is to be told of its end may have nothing to do with the question.
        if upstream.link != Link::Thread && (view.is_watched() || view.is_polled()) {
            return Answer::No;
        }
        // Who meets the end again and again does nothing else.
        if view.reads_on() {
            return Answer::No;
        }
        let since = view.now.saturating_sub(upstream.asked_at);
        if since < view.min_age.min(view.age()) / 2 {
            return Answer::No;
        }
        let source = EvidenceSource::Asked;
        let looks = looks(view, &upstream);
        let proof = Proof::earned(looks, source, Evidence::Upstream(Box::new(upstream)));
        let end_was_read = view.socket.history.eof.is_some();
        let is_sure = upstream.is_its_own && upstream.link == Link::Thread && !end_was_read;
        // Nothing proves that this client waits for that answer but the order of events.
        Answer::Yes(proof.at_most(if is_sure {
            Confidence::Medium
        } else {
            Confidence::Low
        }))
    }

    /// One request may be slow; what goes on growing does not come back.
    fn severity(&self, group: &Group<'_>) -> Severity {
        if group.still_growing() {
            Severity::Leak
        } else {
            Severity::Suspect
        }
    }

    fn explain(&self, group: &Group<'_>, evidence: &Evidence<'_>) -> Explanation {
        let Evidence::Upstream(upstream) = evidence else {
            return Explanation::default();
        };
        let n = explanation::number(group.count());
        let remote = Endpoint(upstream.connection.endpoints.remote);
        let silent = explanation::span(group.now.saturating_sub(upstream.asked_at));
        let (kind, within) = (
            explanation::kind(&upstream.operation),
            explanation::within(group),
        );
        let mut evidence = vec![match upstream.link {
            Link::Thread => format!(
                "right after the last use of the oldest, before it turned to another client, its thread asked {remote} \
                 ({kind}{within}); nothing has come back for {silent}"
            ),
            Link::Accepted => format!(
                "after the oldest was accepted, and before the next one was, the program began to connect to {remote} \
                 ({kind}{within}), which has not accepted for {silent}; nothing of the client was read since"
            ),
            Link::Time => format!(
                "right after a request of this server's was read, {remote} was asked ({kind}{within}); nothing has come \
                 back for {silent}"
            ),
        }];
        let ended = explanation::how_many(group, |view| view.socket.history.eof.is_some());
        if ended > 0 {
            evidence.push(format!(
                "{ended} of {}: the end was read since, by the event loop; whoever asked may not have been told",
                group.count()
            ));
        }
        let later = explanation::how_many(group, asked_before);
        if later > 0 {
            evidence.push(format!(
                "{later} of {}: the request was read later, and nothing was asked for it; that {} for the same answer is \
                 likely, not proven",
                group.count(),
                explanation::agree(later, "it waits", "they wait"),
            ));
        }
        if upstream.link == Link::Thread && !upstream.is_its_own {
            evidence.push(format!(
                "one connection to {remote} serves several clients: the oldest waits for one of its \
                 answers"
            ));
        }
        evidence.push(format!(
            "{} Recv-Q is {}",
            n.their,
            explanation::recv_q(group)
        ));
        evidence.extend(explanation::age_evidence(group));
        Explanation {
            summary: format!(
                "{} {}{} for an answer from upstream {remote}, which has been silent for {silent}{}",
                explanation::sockets(group.count()),
                if later == group.count() {
                    "most likely "
                } else {
                    ""
                },
                explanation::agree(group.count(), "waits", "wait"),
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "Look at {remote} first: that it answers ends all of them. In the program, put a time limit \
                 on the request to it, and notice a client that has left meanwhile. {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The program serves the connection by asking another server, and that server does not \
                       answer. There is no time limit, so the client gives up first, and nobody looks at it \
                       before the answer comes.",
            proof: "The thread that used the connection last opened another one, or wrote to one, before \
                    it turned to another client; that one is open, and nothing was received on it since.",
            blamed: "the function that sent the request; the server's address and port are in the summary",
            remedy: "Mend the silent server, put a time limit on requests to it, and watch the client \
                     meanwhile.",
        }
    }
}

fn looks(view: &SocketView<'_>, upstream: &Upstream<'_>) -> Looks {
    Looks::default()
        .look(
            view.context.threads.knows(view.socket.cookie),
            "",
            "what else the process has touched is not known",
        )
        .look(
            upstream.is_its_own,
            "no other client was in between",
            "which client the question was for is not known",
        )
        .look(
            !view.runs_tasks(),
            "",
            "the program runs tasks of its own, which may move between threads",
        )
        .look(view.nothing_lost(), "", "some events were lost")
}

fn asked_before(view: &SocketView<'_>) -> bool {
    let evidence = view.proof.as_ref().map(|proof| &proof.evidence);
    matches!(evidence, Some(Evidence::Upstream(upstream)) if upstream.link == Link::Time)
}
