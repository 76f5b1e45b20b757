//! Connections that are not forgotten but put aside: by fibers, whose stacks the kernel does not know, and by event loops
//! that wait for something else meanwhile.

use super::{
    crowds::open,
    world::{S, SERVER, STUCK, World, conn, frame, libc, operation, process, thread, world},
};
use crate::model::{
    input::Thread,
    socket::SocketOperation,
    stack::{Frame, FrameAddress},
    wait::{FileKind, Member, Polled, Target, Wait},
};

const MAIN_STACK: u64 = 0x7ffd_0000_0000;
const FIBER: u64 = 0x7f11_0000_0000;

fn polls(files: &[FileKind]) -> Thread {
    let member = |(fd, file): (usize, &FileKind)| Member {
        target: Target {
            fd: fd as i32,
            file: *file,
        },
        input: true,
        output: false,
    };
    let polled = Polled {
        members: files.iter().enumerate().map(member).collect(),
        complete: true,
        ..Polled::default()
    };
    let outermost = FrameAddress {
        frame: 0,
        cfa: MAIN_STACK,
        return_address: 1,
    };
    Thread {
        wait: Wait::Poll(polled),
        frames_at: vec![outermost],
        ..thread(SERVER, "poll", vec![libc("poll"), frame("run", 9)])
    }
}

/// One thread has read the request of a connection, and has turned to another one since.
fn turned(thread: Thread, sp: u64) -> World {
    let mut conn = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    if let Some(used) = &mut conn.candidate.history.used {
        used.sp = sp;
    }
    let mut other = open(70, (SocketOperation::Accept, STUCK), 0);
    other.1.used = Some(operation(SocketOperation::Recv, STUCK + S, 2));
    world([conn])
        .with_threads(SERVER, vec![thread])
        .with_neighbours(&[other])
}

const LISTENER: FileKind = FileKind::Socket(1);

#[test]
fn what_was_used_on_another_stack_may_be_a_fibers() {
    let on = |sp| turned(polls(&[LISTENER]), sp);
    assert_eq!(on(MAIN_STACK - 4096).verdict(), "lost-reference high leak");
    // Where it was is not known.
    assert_eq!(on(0).verdict(), "lost-reference high leak");
    let fiber = on(FIBER).site();
    assert_eq!(fiber.confidence.name(), "low");
    let says = "tasks or coroutines of its own";
    assert!(
        fiber.evidence.join("; ").contains(says),
        "{:?}",
        fiber.evidence
    );
}

#[test]
fn a_loop_that_waits_for_a_pipe_may_come_back() {
    let verdict = |files: &[FileKind]| turned(polls(files), 0).verdict();
    assert_eq!(verdict(&[LISTENER]), "lost-reference high leak");
    for other in [FileKind::Pipe, FileKind::EventFd, FileKind::Other] {
        assert_eq!(verdict(&[LISTENER, other]), "lost-reference low leak");
    }
    // Without clients it is no loop of theirs.
    assert_eq!(verdict(&[FileKind::Pipe]), "lost-reference high leak");
    // What it has opened itself nobody puts aside for others.
    let mut outgoing = turned(polls(&[LISTENER, FileKind::Pipe]), 0);
    for conn in &mut outgoing.conns {
        if let Some(opened) = &mut conn.candidate.history.opened {
            opened.kind = SocketOperation::Connect;
        }
    }
    let evidence = outgoing.site().evidence.join("; ");
    assert!(!evidence.contains("a pipe or the like"), "{evidence}");
}

/// One loop that asks for its listener and for what its workers send: it notes the end, and closes when the work is done.
#[test]
fn who_selects_on_its_listener_is_a_loop_as_well() {
    let verdict = |fd: i32, kind: SocketOperation| {
        let member = |fd, file| Member {
            target: Target { fd, file },
            input: true,
            output: false,
        };
        let selects = Thread {
            wait: Wait::Poll(Polled {
                members: vec![member(fd, FileKind::Socket(9)), member(4, FileKind::Pipe)],
                complete: true,
                times_out: true,
                select: true,
            }),
            ..thread(SERVER, "pselect6", vec![libc("select"), frame("main", 9)])
        };
        world([conn(1).accepted().used(kind, STUCK - S).eof()])
            .with_listener("0.0.0.0:8080", &[SERVER], 0)
            .with_threads(SERVER, vec![selects])
            .verdict()
    };
    assert_eq!(verdict(250, SocketOperation::Recv), "eof-ignored low leak");
    // What was answered is not gone on with.
    assert_eq!(verdict(250, SocketOperation::Send), "eof-ignored high leak");
    assert_eq!(
        verdict(77, SocketOperation::Recv),
        "eof-ignored medium leak"
    );
}

/// Who accepts reads as well, and another thread answers all that has come, now and then.
#[test]
fn what_was_read_and_not_answered_may_lie_with_a_thread_that_waits() {
    let verdict = |kind: SocketOperation, has_ended: bool, waits: &str| {
        let accepts = thread(SERVER, "accept", vec![libc("accept"), frame("main", 9)]);
        let flushes = thread(71, waits, vec![libc(waits), frame("flusher", 5)]);
        let conn = conn(1).accepted().used(kind, STUCK - S);
        world([if has_ended { conn.eof() } else { conn }])
            .with_threads(SERVER, vec![accepts, flushes])
            .verdict()
    };
    for waits in ["futex", "clock_nanosleep"] {
        let left = verdict(SocketOperation::Recv, true, waits);
        assert_eq!(left, "eof-ignored low leak", "{waits}");
        let left = verdict(SocketOperation::Recv, false, waits);
        assert_eq!(left, "lost-reference low leak", "{waits}");
    }
    let answered = verdict(SocketOperation::Send, true, "futex");
    assert_eq!(answered, "eof-ignored high leak");
    let answered = verdict(SocketOperation::Send, false, "futex");
    assert_eq!(answered, "lost-reference medium leak");
}

/// Who looks after connections from time to time, as a hub that pushes does, closes what has ended at its next turn.
#[test]
fn a_thread_that_sleeps_inside_the_program_may_close_it_later() {
    let verdict = |tid: u32, comm: &str, sleeps: Wait, stack: Vec<Frame>| {
        let mut conn = conn(1).accepted().used(SocketOperation::Send, STUCK - S);
        if let Some(used) = &mut conn.candidate.history.used {
            used.tid = 500;
        }
        let other = Thread {
            comm: comm.to_owned(),
            wait: sleeps,
            ..thread(tid, "futex", stack)
        };
        let user = thread(500, "accept", vec![libc("accept"), frame("serve", 8)]);
        let main = thread(SERVER, "accept", vec![frame("main", 9)]);
        let mut threads = vec![user, other];
        threads.extend((tid != SERVER).then_some(main));
        let mut server = process(SERVER);
        server.threads = threads.len() as u32;
        let world = world([conn]).with_process(server);
        world.with_threads(SERVER, threads).verdict()
    };
    let push = || vec![libc("nanosleep"), frame("push", 70), frame("pusher", 71)];
    let medium = "lost-reference medium leak";
    assert_eq!(verdict(501, "pusher", Wait::Sleep, push()), medium);
    // The kernel sees Java's threads wait for a condition.
    let java = vec![
        libc("wait"),
        frame("java.lang.Thread.sleep", 60),
        frame("push", 70),
    ];
    assert_eq!(
        verdict(501, "pusher", Wait::Futex { address: 8 }, java),
        medium
    );
    let high = "lost-reference high leak";
    // A library's own, one of those that use such connections, the first thread of a program: all have some that sleep.
    assert_eq!(
        verdict(501, "timer", Wait::Sleep, vec![libc("nanosleep")]),
        high
    );
    assert_eq!(verdict(SERVER, "server", Wait::Sleep, push()), high);
    let waits = vec![libc("wait"), frame("push", 70)];
    assert_eq!(
        verdict(501, "pusher", Wait::Futex { address: 8 }, waits),
        high
    );
}
