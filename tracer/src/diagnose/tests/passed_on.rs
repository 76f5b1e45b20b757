//! An end that its reader has told another server of, over a connection that carries what many clients send.

use super::{
    crowds::{INODE, open},
    world::{END, S, SERVER, STUCK, World, conn, frame, libc, thread, world},
};
use crate::model::{
    connection::TcpFacts,
    input::{Connection, Input, Thread},
    socket::SocketOperation,
    wait::{FileKind, Member, Polled, Target, Wait},
};

/// When the one that is stuck was read to its end.
const READ: u64 = STUCK + S;

/// The reader waits for the connection as well, whose calls nobody saw.
fn forwards(change: impl Fn(&mut Connection)) -> World {
    let (_, _, mut server) = open(70, (SocketOperation::Connect, 0), 0);
    server.tcp = Some(TcpFacts {
        sent_at: Some(READ),
        ..TcpFacts::default()
    });
    change(&mut server);
    let member = |inode| Member {
        target: Target {
            fd: 3,
            file: FileKind::Socket(inode),
        },
        input: true,
        output: false,
    };
    let polls = Thread {
        wait: Wait::Poll(Polled {
            members: vec![member(4242), member(INODE + 70)],
            complete: true,
            ..Polled::default()
        }),
        since: Some(END - S),
        ..thread(SERVER, "poll", vec![libc("poll"), frame("main", 9)])
    };
    world([conn(1)
        .accepted()
        .used(SocketOperation::Send, STUCK - S)
        .eof()])
    .with_threads(SERVER, vec![polls])
    .with(Input::Connections(vec![server]))
}

#[test]
fn an_end_that_may_have_been_passed_on_unseen_is_not_surely_ignored() {
    let site = forwards(|_| {}).site();
    assert_eq!(
        (site.verdict.name(), site.confidence.name()),
        ("eof-ignored", "low")
    );
    let evidence = site.evidence.join("; ");
    assert!(
        evidence.contains("by calls that are not watched"),
        "{evidence}"
    );
}

#[test]
fn what_a_server_was_sent_before_an_end_did_not_pass_it_on() {
    let confidence = |world: World| world.site().confidence.name();
    let before = forwards(|server| server.tcp.as_mut().unwrap().sent_at = Some(READ - S));
    assert_ne!(confidence(before), "low");
    let never = forwards(|server| server.tcp = None);
    assert_ne!(confidence(never), "low");
}
