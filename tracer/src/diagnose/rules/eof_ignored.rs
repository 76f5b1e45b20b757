//! `eof-ignored`: a read returned 0 and no close followed. Proof: the read's own event, taken with
//! `RCV_SHUTDOWN` set and everything read; for sockets older than the tracer only an empty receive
//! queue, which a last read of data together with the FIN leaves as well.

use super::{
    Answer, Evidence, EvidenceSource, Explanation, Group, Proof, Rule, SocketView,
    looks::{self, Looks},
};
use crate::diagnose::{
    context::{activations::Activation, decoded::decoded, waits::WaitsFor},
    explanation,
};
use crate::model::{
    connection::TcpFacts,
    input::Thread,
    listeners::Heard,
    report::Direction,
    socket::{LastOperation, SocketOperation},
    stack::Frame,
    verdict::{Confidence, Severity, Verdict, VerdictDoc},
    wait::Wait,
};

pub struct EofIgnored;

impl Rule for EofIgnored {
    fn verdict(&self) -> Verdict {
        Verdict::EofIgnored
    }

    fn check<'a>(&self, view: &SocketView<'a>) -> Answer<'a> {
        if view.socket.recv_q != 0 {
            return Answer::No;
        }
        let history = *view.socket.history;
        if view.was_passed_on() {
            return Answer::No;
        }
        if history.eof.is_some() {
            let proof = Proof::earned(looks(view), EvidenceSource::Eof, Evidence::Socket);
            return Answer::Yes(proof.or_listener(view));
        }
        if view.whole_life_seen() || history.used.is_some() {
            return Answer::No;
        }
        // Who took the end, and whether anybody was told of it, was not seen.
        let proof = Proof::of_socket(Confidence::Low, EvidenceSource::Nothing);
        Answer::Yes(proof.or_listener(view))
    }

    fn severity(&self, _group: &Group<'_>) -> Severity {
        Severity::Leak
    }

    fn explain(&self, group: &Group<'_>, _evidence: &Evidence<'_>) -> Explanation {
        let n = explanation::number(group.count());
        let seen = explanation::how_many(group, |view| view.socket.history.eof.is_some());
        let mut evidence = Vec::new();
        if seen > 0 {
            let ago = explanation::ago(group, |view| view.socket.history.eof).unwrap_or_default();
            evidence.push(format!(
                "{seen} of {}: a read{} returned 0 (the peer has closed), most recently {ago} ago; \
                 no close() or shutdown() came after it",
                group.count(),
                explanation::within(group)
            ));
        } else {
            evidence.push(
                "the end of the stream was read before tracing began, so who read it is not known; \
                 it may have come together with the last data"
                    .to_owned(),
            );
        }
        evidence.push("Recv-Q is 0: nothing is left to read".to_owned());
        evidence.extend(explanation::age_evidence(group));
        let place = match group.function() {
            Some(name) => format!("In {name}"),
            None => "Where the read returns 0".to_owned(),
        };
        let watch = if seen == 0 {
            "To learn which function reads and forgets them, keep `sockleak watch` running while new \
             ones appear. "
        } else {
            ""
        };
        Explanation {
            summary: format!(
                "{} {} read to the end{} and never closed",
                explanation::sockets(group.count()),
                n.were,
                explanation::within(group)
            ),
            evidence,
            advice: format!(
                "{watch}{place}, treat a read of 0 bytes as the end of the connection: close() it (and drop \
                 it from the event loop). {}",
                explanation::NOT_KEEPALIVE
            ),
        }
    }

    fn verdict_doc(&self) -> VerdictDoc {
        VerdictDoc {
            happened: "The client closed its side. The program was told: a read returned 0 bytes. \
                       It did not close its own side, so the connection stays in CLOSE_WAIT until \
                       the process ends.",
            proof: "The read that returned 0 was seen with its stack, and no close() or \
                       shutdown() came after it.",
            blamed: "the function that read the end of the stream",
            remedy: "Treat a read of 0 bytes as the end of the connection: close it, and drop it \
                       from the event loop.",
        }
    }
}

/// None of the program's functions has read the end: an event loop or a library has, and what it told the program is not
/// known, as it is where the listeners are.
fn was_read_for_another(view: &SocketView<'_>) -> bool {
    let stack = view.stack(view.socket.history.eof);
    let is_nobodys = |frames: &[Frame]| !frames.is_empty() && view.context.blame(frames).is_none();
    stack.is_some_and(|stack| is_nobodys(&stack.frames)) && view.handling().is_none()
}

/// The read that returned 0 is the positive fact; that its reader, or whoever it told, is not at work is looked at.
fn looks(view: &SocketView<'_>) -> Looks {
    let looks = match view.activation() {
        Activation::Over(over) => Looks::default().look(true, over.says(), ""),
        // A reader that meets the end again and again goes on with nothing else.
        _ if view.reads_on() => {
            Looks::default().look(true, "the end of the stream is read again and again", "")
        }
        _ => Looks::default().look(
            false,
            "",
            "whether the call that read the end still runs is not known",
        ),
    };
    looks
        .look(
            !looks::computes_else(view),
            "",
            "the thread that touched it last computes something else, after which it may come back to it",
        )
        .look(
            !was_read_for_another(view),
            "",
            "an event loop or a library has read the end: who of the program was told, and what it does, is not known",
        )
        .doubt(
            (view.holder_pids().iter())
                .any(|pid| view.context.is_had_by_a_task(*pid, view.socket.inode)),
            "a suspended task of the program has the connection, and may go on with it",
        )
        .doubt(
            view.runs_tasks(),
            "the program runs tasks of its own: another one than the reader may keep the connection",
        )
        .doubt(
            view.socket.history.eof.is_some_and(|eof| looks::may_be_served_elsewhere(view, eof)),
            "another thread waits inside the program, since right after the end was read or while nobody has answered: it may serve it",
        )
        .look(
            !was_told_elsewhere(view),
            "",
            "right after the end was read, the same thread wrote elsewhere: it may have passed it on",
        )
        .doubt(
            is_asked_in_a_loop(view),
            "what was read before the end was never answered, and its reader serves others meanwhile: it may go on with it later",
        )
        .doubt(
            !view.reads_on() && looks::may_be_queued(view),
            "what was read before the end was never answered, and other threads of the program wait: it may lie in their queue",
        )
        .doubt(
            are_told_elsewhere(view),
            "where the thread reads the end of connections like this one it writes to one server: it may pass all of them on",
        )
        .doubt(
            was_something_sent_unseen(view),
            "its reader waits for a server as well, to which something was sent since by calls that are not watched (`--port`): it \
             may have passed the end on",
        )
        .doubt(
            closes_by_itself(view),
            "Node.js closes it by itself once the program has taken all that came before the end: most likely it is paused",
        )
        .look(
            view.threads_known(),
            "",
            "not all threads could be looked at",
        )
        .look(view.nothing_lost(), "", "some events were lost")
}

/// Node.js ends what it sends when the program has heard the end, unless that asked for the opposite.
fn closes_by_itself(view: &SocketView<'_>) -> bool {
    let Some(Heard::By(listeners)) = view.heard() else {
        return false;
    };
    !listeners.is_http && !listeners.is_below_tls && listeners.half_open == Some(false)
}

/// A server in one loop notes the end of a client whose question is still open, and closes when that is done.
fn is_asked_in_a_loop(view: &SocketView<'_>) -> bool {
    let history = *view.socket.history;
    let unanswered = (history.used).is_some_and(|used| used.kind == SocketOperation::Recv);
    let reader = history.eof.filter(|_| unanswered);
    let thread = reader.and_then(|eof| view.context.threads.seen(eof.actor()));
    let is_loop = |thread: &Thread| match view.context.waits.of(thread) {
        WaitsFor::Set(_) | WaitsFor::Several => true,
        // It asks for other descriptors as well, now and then.
        WaitsFor::NewConnections => matches!(&*decoded(thread), Wait::Poll(_)),
        _ => false,
    };
    view.direction() == Some(Direction::Accepted) && !view.reads_on() && thread.is_some_and(is_loop)
}

/// One connection carries what comes on several, so of it only the last write is known: it followed the last end that the
/// thread has read by the same calls.
fn are_told_elsewhere(view: &SocketView<'_>) -> bool {
    /// Of its last calls; there may be very many.
    const LOOKED_AT: usize = 64;
    let Some(eof) = view.socket.history.eof else {
        return false;
    };
    let of_thread = view.context.threads.touches(eof.actor()).iter();
    let mut last = of_thread.rev().take(LOOKED_AT).filter(|touch| {
        let history = view.context.threads.history(touch.cookie);
        let is_end = history.is_some_and(|history| history.eof == Some(*touch.operation));
        is_end && touch.operation.stack == eof.stack
    });
    last.next().is_some_and(|last| {
        last.cookie != view.socket.cookie && passes_on(view, last.cookie, *last.operation)
    })
}

/// An end of stream that is followed at once by a write to another connection was passed on.
fn was_told_elsewhere(view: &SocketView<'_>) -> bool {
    let eof = view.socket.history.eof;
    eof.is_some_and(|eof| passes_on(view, view.socket.cookie, eof))
}

/// Calls on connections at ports that nobody asked for are not seen; when TCP sent something last, it counts itself.
fn was_something_sent_unseen(view: &SocketView<'_>) -> bool {
    /// The clock of TCP has steps of up to 10 ms.
    const STEP: u64 = 10_000_000;
    let context = view.context;
    let Some(eof) = view.socket.history.eof else {
        return false;
    };
    let Some(reader) = context.threads.seen(eof.actor()) else {
        return false;
    };
    let sent_at = |tcp: TcpFacts| tcp.sent_at;
    context.waits.upstreams_of(reader).any(|server| {
        let sent = server.tcp.and_then(sent_at);
        let cookie = server.cookie;
        let is_unseen =
            context.threads.history(cookie).is_none() && view.tracker.since(cookie).is_none();
        is_unseen && sent.is_some_and(|sent| sent.saturating_add(STEP) >= eof.at)
    })
}

fn passes_on(view: &SocketView<'_>, cookie: u64, eof: LastOperation) -> bool {
    /// Work that follows a read without waiting takes less: 1 ms.
    const AT_ONCE: u64 = 1_000_000;
    let after = view.context.threads.touches_after(eof.actor(), eof.at);
    after.first().is_some_and(|next| {
        next.cookie != cookie
            && next.operation.kind == SocketOperation::Send
            && next.operation.at - eof.at < AT_ONCE
            && view.context.waits.is_upstream(next.cookie)
    })
}
