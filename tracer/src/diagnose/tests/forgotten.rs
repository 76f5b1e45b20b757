//! Sockets the program has read, used or only accepted: `eof-ignored`, `lost-reference`,
//! `never-read`.

use super::world::{S, SERVER, STUCK, World, conn, frame, libc, process, thread, world};
use crate::model::{
    input::{Input, Thread},
    report::Direction,
    socket::SocketOperation,
    stack::Frame,
};

/// One thread in `syscall`, below the function of the stack `recv` came from.
pub fn busy(syscall: &str, function: &str, offset: u64) -> Vec<Thread> {
    vec![thread(
        SERVER,
        syscall,
        vec![libc(syscall), frame(function, offset)],
    )]
}

fn is_epoll(input: &Input) -> bool {
    matches!(input, Input::Epoll { .. })
}

fn is_threads(input: &Input) -> bool {
    matches!(input, Input::Threads { .. })
}

#[test]
fn eof_ignored_is_proven_by_the_read_that_returned_0() {
    let site = world([conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S)
        .eof()])
    .site();
    assert_eq!(site.verdict.name(), "eof-ignored");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "drain");
    assert_eq!(site.direction, Some(Direction::Accepted));
}

/// A last read of data takes the FIN along when there is room: Recv-Q 0 alone proves no EOF.
#[test]
fn eof_ignored_needs_the_event_where_everything_was_seen() {
    let took_fin_along = conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK + S)
        .recv_q(0);
    assert_eq!(
        world([took_fin_along]).verdict(),
        "lost-reference high leak"
    );
    let nothing_seen = || world([conn(1).accepted().recv_q(0)]);
    assert_eq!(nothing_seen().verdict(), "unknown low suspect");
    // Who accepts it has not read it.
    let site = nothing_seen().site();
    assert!(site.evidence.iter().any(|line| line.contains("splice()")));
    assert_eq!(site.blame, None);
}

/// A peek, or a read of length 0, leaves the FIN where it is.
#[test]
fn eof_ignored_is_not_claimed_while_the_fin_is_unread() {
    let peeked = conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S)
        .eof()
        .recv_q(1);
    assert_eq!(world([peeked]).verdict(), "unknown low suspect");
}

#[test]
fn eof_ignored_of_a_socket_older_than_the_tracer_is_less_sure_and_blames_nobody() {
    let site = world([conn(1).older().recv_q(0)]).site();
    assert_eq!(site.verdict.name(), "eof-ignored");
    assert_eq!(site.confidence.name(), "low");
    assert_eq!(site.blame, None);
    assert!(site.age_is_lower_bound);
}

#[test]
fn eof_ignored_is_not_claimed_of_a_reader_still_at_work() {
    let at_work = |syscall| {
        world([conn(1).accepted().eof()]).with_threads(SERVER, busy(syscall, "drain", 31))
    };
    assert_eq!(at_work("write").verdict(), "owner-blocked low leak");
    assert_eq!(at_work("futex").verdict(), "owner-blocked low leak");
    // Waiting for the next piece of work is no work on this one.
    assert_eq!(at_work("epoll_wait").verdict(), "eof-ignored medium leak");
    let elsewhere =
        world([conn(1).accepted().eof()]).with_threads(SERVER, busy("write", "log", 40));
    assert_eq!(elsewhere.verdict(), "eof-ignored medium leak");
}

/// The reader has ended; whom it gave the request to is not known, but somebody may be at it.
#[test]
fn eof_ignored_is_doubted_where_another_thread_may_serve_what_was_read() {
    let ended = |kind, waits: Vec<Frame>, tid| {
        let mut site = conn(1).accepted().used(kind, STUCK - S).eof();
        for operation in [
            &mut site.candidate.history.used,
            &mut site.candidate.history.eof,
        ] {
            operation.as_mut().unwrap().tid = 900;
        }
        let accepts = thread(SERVER, "accept", vec![frame("main", 9)]);
        let mut other = thread(tid, "futex", waits);
        other.comm = "handler".to_owned();
        let threads = match tid {
            SERVER => vec![other],
            _ => vec![accepts, other],
        };
        let count = threads.len() as u32;
        let mut server = process(SERVER);
        server.threads = count;
        world([site])
            .with_process(server)
            .with_threads(SERVER, threads)
            .verdict()
    };
    let inside = || vec![libc("syscall"), frame("ask_stock", 60), frame("handle", 61)];
    let read = SocketOperation::Recv;
    assert_eq!(ended(read, inside(), 901), "eof-ignored low leak");
    // It was answered; it waits in the only function that it has, as for work; it is main() that waits for the others.
    let answered = ended(SocketOperation::Send, inside(), 901);
    assert_eq!(answered, "eof-ignored high leak");
    let waits_for_work = vec![libc("syscall"), frame("work", 62)];
    assert_eq!(ended(read, waits_for_work, 901), "eof-ignored high leak");
    assert_eq!(ended(read, inside(), SERVER), "eof-ignored high leak");
}

fn used() -> World {
    world([conn(1).accepted().used(SocketOperation::Recv, STUCK - S)])
}

#[test]
fn lost_reference_is_proven_by_a_last_use_and_nobody_at_it() {
    let site = used().site();
    assert_eq!(site.verdict.name(), "lost-reference");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "handle");
    assert!(site.evidence[0].contains("no read, write or close() came after"));
}

#[test]
fn lost_reference_is_not_claimed_of_a_socket_in_an_epoll_set() {
    assert_eq!(
        used().with_epoll(SERVER, &[1]).verdict(),
        "unknown low suspect"
    );
    assert_eq!(
        used().with_epoll(SERVER, &[2]).verdict(),
        "lost-reference high leak"
    );
}

#[test]
fn lost_reference_is_not_claimed_while_its_thread_is_at_it_or_any_is_blocked_in_a_write() {
    let at_it = used().with_threads(SERVER, busy("futex", "handle", 21));
    assert_eq!(at_it.verdict(), "owner-blocked low leak");
    let starving = used().with_threads(SERVER, busy("sendto", "log", 40));
    assert_eq!(starving.verdict(), "lost-reference low leak");
}

#[test]
fn lost_reference_is_less_sure_where_less_was_looked_at() {
    let medium = "lost-reference medium leak";
    assert_eq!(used().without(is_epoll).verdict(), medium);
    assert_eq!(
        used().without(is_threads).verdict(),
        "lost-reference low leak"
    );
    assert_eq!(used().blind_to_writes().verdict(), medium);
    let unopened = world([conn(1).used(SocketOperation::Recv, STUCK - S)]);
    assert_eq!(unopened.verdict(), medium);
}

/// Without a hook on reads the end of the stream may have been read after the last use.
#[test]
fn lost_reference_is_not_claimed_of_an_empty_queue_when_reads_go_unseen() {
    let sent = || conn(1).accepted().used(SocketOperation::Send, STUCK - S);
    let blind = |conn| world([conn]).blind_to_reads();
    assert_eq!(blind(sent().recv_q(0)).verdict(), "unknown low suspect");
    let site = blind(sent()).site();
    assert_eq!(site.verdict.name(), "lost-reference");
    assert!(site.evidence[0].contains("no write or close() came after"));
}

/// What took the FIN was no read that was seen, so it may have been told of the end.
#[test]
fn lost_reference_is_not_claimed_when_an_unseen_read_took_the_fin() {
    let before = conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - S)
        .recv_q(0);
    assert_eq!(world([before]).verdict(), "unknown low suspect");
    let after = conn(1)
        .accepted()
        .used(SocketOperation::Send, STUCK + S)
        .recv_q(0);
    assert_eq!(world([after]).verdict(), "lost-reference high leak");
    // Its write was still under way when the FIN came, and no data lay there that a read could have taken along.
    let mut during = conn(1)
        .accepted()
        .used(SocketOperation::Send, STUCK + S)
        .recv_q(0);
    during.candidate.entry.only_fin_unread = true;
    assert_eq!(world([during]).verdict(), "unknown low suspect");
}

fn unread() -> World {
    world([conn(1).accepted().recv_q(120)])
}

#[test]
fn never_read_is_proven_by_an_accept_and_no_read() {
    let site = unread().site();
    assert_eq!(site.verdict.name(), "never-read");
    assert_eq!(site.confidence.name(), "high");
    assert_eq!(site.blame.unwrap().function.raw(), "accept_loop");
}

#[test]
fn never_read_is_not_claimed_of_what_was_not_looked_at() {
    let unknown = "unknown low suspect";
    assert_eq!(unread().blind_to_reads().verdict(), unknown);
    assert_eq!(world([conn(1).recv_q(120)]).verdict(), unknown);
    assert_eq!(world([conn(1).older().recv_q(120)]).verdict(), unknown);
    let medium = "never-read medium leak";
    assert_eq!(unread().without(is_epoll).verdict(), medium);
    assert_eq!(
        unread().without(is_threads).verdict(),
        "never-read low leak"
    );
    let mut crowd = process(SERVER);
    crowd.threads = 60;
    assert_eq!(unread().with_process(crowd).verdict(), medium);
}

/// Blocked workers, an event loop or a busy acceptor explain a queue of unread requests.
#[test]
fn never_read_is_not_claimed_of_a_queue_somebody_may_still_serve() {
    let writing = unread().with_threads(SERVER, busy("write", "log", 40));
    assert_eq!(writing.verdict(), "never-read low leak");
    let watched = unread().with_epoll(SERVER, &[1]);
    assert_eq!(watched.verdict(), "unknown low suspect");
    let accepting = busy("futex", "accept_loop", 13);
    let accepting = unread().with_threads(SERVER, accepting);
    assert_eq!(accepting.verdict(), "never-read low leak");
}

#[test]
fn never_read_is_less_sure_after_a_loss() {
    assert_eq!(unread().with_lost(1).verdict(), "never-read medium leak");
}
