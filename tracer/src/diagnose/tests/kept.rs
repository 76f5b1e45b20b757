//! What keeps those that serve connections: which waits end with the piece of work alone, and who of them keeps others
//! from being accepted.

use tracer_common::state::CLOSE_WAIT;

use super::{
    crowds::{INODE, open},
    world::{END, S, SERVER, STUCK, World, conn, frame, libc, process, thread, world},
};
use crate::model::{
    input::{Activity, Input, Thread},
    socket::{Endpoints, History, LastOperation, SocketOperation},
    stack::{Frame, PYTHON},
    verdict::Confidence,
    wait::{FileKind, Target, Wait},
};

fn writes_to_pipe(tid: u32, stack: Vec<Frame>) -> Thread {
    let target = Target {
        fd: 2,
        file: FileKind::Pipe,
    };
    Thread {
        wait: Wait::Send(target),
        switches: 9,
        ..thread(tid, "write", stack)
    }
}

/// A connection that this thread, which is not its process's first, has read.
fn served(thread: Thread, threads: u32) -> World {
    let mut conn = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    if let Some(used) = &mut conn.candidate.history.used {
        (used.tid, used.switches) = (thread.tid, 1);
    }
    let mut server = process(SERVER);
    server.threads = threads;
    let main = super::world::thread(SERVER, "accept", vec![frame("main", 9)]);
    let all = if threads == 1 {
        vec![thread]
    } else {
        vec![main, thread]
    };
    let known = Activity {
        cookie: 1,
        history: conn.candidate.history,
    };
    world([conn])
        .with_process(server)
        .with_threads(SERVER, all)
        .with(Input::Activity(vec![known]))
}

#[test]
fn a_full_pipe_keeps_who_writes_to_it() {
    let stack = || vec![libc("write"), frame("log", 40)];
    let mut own = writes_to_pipe(500, stack());
    own.began = STUCK;
    let site = served(own, 2).site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence, Confidence::Medium);
    assert!(site.summary.contains("descriptor 2"), "{}", site.summary);
    // One that was there before may have begun other work.
    assert_eq!(
        served(writes_to_pipe(500, stack()), 2).verdict(),
        "lost-reference low leak"
    );
}

#[test]
fn the_only_thread_is_kept_by_a_wait_that_began_right_after_it_touched_the_connection() {
    let verdict = |wait, since| {
        let stack = ["convert", "handle", "accept_loop"].map(|name| frame(name, 21));
        let waits = Thread {
            wait,
            since: Some(since),
            switches: 9,
            ..thread(
                SERVER,
                "wait4",
                [vec![libc("wait4")], stack.to_vec()].concat(),
            )
        };
        served(waits, 1).verdict()
    };
    let soon = STUCK - S + S / 100;
    assert_eq!(verdict(Wait::Child, soon), "owner-blocked medium leak");
    assert_eq!(verdict(Wait::Child, STUCK + S), "lost-reference low leak");
    // So does a loop.
    assert_eq!(verdict(Wait::Sleep, soon), "lost-reference low leak");
}

/// It may be an idle worker just as well, but not one that has forgotten it and is gone.
#[test]
fn a_thread_that_began_for_a_connection_and_waits_for_something_may_still_serve_it() {
    let waits = |began| Thread {
        began,
        wait: Wait::Futex { address: 8 },
        ..thread(500, "futex", vec![libc("futex"), frame("wait", 40)])
    };
    let site = served(waits(STUCK), 2).site();
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence, Confidence::Low);
    let says = "it began after that connection was opened";
    assert!(site.evidence.iter().any(|line| line.contains(says)));
    assert_eq!(served(waits(1), 2).verdict(), "lost-reference low leak");
}

#[test]
fn a_lock_taken_in_own_code_is_no_queue() {
    let python = |function: &str, file: &str| Frame {
        module: Some(PYTHON.to_owned()),
        file: Some(file.to_owned()),
        ..frame(function, 0)
    };
    let waits = |inner: Vec<Frame>| Thread {
        began: STUCK,
        wait: Wait::Futex { address: 8 },
        stack: [vec![libc("sem_wait")], inner].concat(),
        ..thread(500, "futex", Vec::new())
    };
    let bare = waits(vec![python("report", "/srv/app.py")]);
    assert_eq!(served(bare, 2).verdict(), "owner-blocked medium leak");
    let condition = Frame {
        module: Some("libc.so.6".to_owned()),
        ..python("wait", "/usr/lib/python3.11/threading.py")
    };
    let event = waits(vec![condition, frame("work", 3)]);
    assert_eq!(served(event, 2).verdict(), "owner-blocked low leak");
}

pub(super) fn upstream(cookie: u64) -> Thread {
    let target = Target {
        fd: 9,
        file: FileKind::Socket(INODE + cookie),
    };
    Thread {
        wait: Wait::Receive(target),
        since: Some(END - 50 * S),
        ..thread(
            400 + cookie as u32,
            "recvfrom",
            vec![libc("recv"), frame("ask", 70)],
        )
    }
}

#[test]
fn who_waits_for_a_free_worker_accepts_nobody() {
    let queue = |second: Thread| {
        let client = |cookie: u64, tid| {
            let mut client = open(cookie, (SocketOperation::Accept, STUCK - 9 * S), 0);
            if let Some(used) = &mut client.1.used {
                used.tid = tid;
            }
            client
        };
        let asked = |cookie| open(cookie, (SocketOperation::Connect, STUCK - 8 * S), 0);
        let mut server = process(SERVER);
        server.threads = 3;
        let accepts = thread(
            SERVER,
            "epoll_wait",
            vec![libc("epoll_wait"), frame("main", 9)],
        );
        world([conn(1).unaccepted(), conn(2).unaccepted()])
            .with_listener("0.0.0.0:8080", &[SERVER], 2)
            .with_process(server)
            .with_threads(SERVER, vec![accepts, upstream(71), second])
            .with_neighbours(&[client(61, 471), client(62, 472), asked(71), asked(72)])
            .site()
    };
    let all = queue(upstream(72));
    assert_eq!(all.verdict.name(), "never-accepted");
    assert_eq!(all.blame.as_ref().unwrap().function.raw(), "ask");
    let says = "all 2 threads that serve what was accepted are blocked, and one of them waits for an answer";
    assert!(all.summary.contains(says), "{}", all.summary);
    let idle = thread(472, "futex", vec![libc("futex"), frame("next_job", 4)]);
    let one = queue(idle);
    assert_eq!(one.blame.unwrap().function.raw(), "accept_loop");
}

/// Who accepts waits in its runtime for a worker to be free; of one of them the request was read by another thread.
#[test]
fn what_keeps_who_waits_for_workers_is_what_they_do() {
    let site = |second: Thread| {
        let mut client = open(61, (SocketOperation::Accept, STUCK - 9 * S), 0);
        client.1.used = client.1.used.map(|used| LastOperation { tid: 471, ..used });
        let asked = |cookie| open(cookie, (SocketOperation::Connect, STUCK - 8 * S), 0);
        let accepts = Thread {
            wait: Wait::Futex { address: 8 },
            ..thread(SERVER, "futex", vec![libc("pthread_cond_wait")])
        };
        world([conn(2).unaccepted()])
            .with_listener("0.0.0.0:8080", &[SERVER], 1)
            .with_threads(SERVER, vec![accepts, upstream(71), second])
            .with_neighbours(&[client, asked(71), asked(72)])
            .site()
    };
    let all = site(upstream(72));
    assert_eq!(all.blame.as_ref().unwrap().function.raw(), "ask");
    let says = "all 2 that serve what it has accepted are blocked";
    assert!(
        all.evidence.iter().any(|line| line.contains(says)),
        "{all:?}"
    );
    let idle = thread(472, "futex", vec![libc("futex"), frame("ask", 70)]);
    assert_eq!(site(idle).blame, None);
}

/// The write that waits is not over, so it is not the last operation; the functions of that one have returned.
#[test]
fn a_client_that_does_not_read_keeps_who_writes_to_it() {
    let verdict = |send_q| {
        let mut conn = conn(1).accepted().used(SocketOperation::Send, STUCK - S);
        if let Some(used) = &mut conn.candidate.history.used {
            used.tid = 500;
        }
        let (cookie, _, mut connection) = open(1, (SocketOperation::Accept, STUCK), send_q);
        connection.state = CLOSE_WAIT;
        connection.inode = 5001;
        let target = Target {
            fd: 9,
            file: FileKind::Socket(5001),
        };
        let writes = Thread {
            wait: Wait::Send(target),
            since: Some(STUCK),
            ..thread(500, "sendto", vec![libc("send"), frame("export", 70)])
        };
        let main = thread(SERVER, "accept", vec![frame("main", 9)]);
        let mut server = process(SERVER);
        server.threads = 2;
        let mut world = world([conn]);
        // A second look would tell whether the client takes some of it.
        world.run_header.live = false;
        world
            .with_process(server)
            .with_threads(SERVER, vec![main, writes])
            .with_neighbours(&[(cookie, History::default(), connection)])
            .site()
    };
    let site = verdict(4000);
    assert_eq!(site.verdict.name(), "owner-blocked");
    assert_eq!(site.confidence, Confidence::High);
    assert_eq!(site.blame.as_ref().unwrap().function.raw(), "export");
    assert!(
        site.summary.contains("to take what is written"),
        "{}",
        site.summary
    );
    assert_ne!(verdict(0).verdict.name(), "owner-blocked");
}

/// A cache asks once for all that want the same.
#[test]
fn one_that_is_on_a_list_for_an_answer_is_not_said_to_be_forgotten() {
    let verdict = |asked_at| {
        let fetches = Thread {
            since: Some(asked_at),
            ..upstream(71)
        };
        let main = thread(SERVER, "accept", vec![frame("main", 9)]);
        let mut server = process(SERVER);
        server.threads = 2;
        let asked = open(71, (SocketOperation::Connect, STUCK - 9 * S), 0);
        let mut conn = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
        if let Some(used) = &mut conn.candidate.history.used {
            used.tid = 500;
        }
        world([conn])
            .with_process(server)
            .with_threads(SERVER, vec![main, fetches])
            .with_neighbours(&[asked])
            .verdict()
    };
    assert_eq!(verdict(STUCK - 8 * S), "lost-reference low leak");
    assert_eq!(verdict(END - 8 * S), "lost-reference high leak");
}

/// What is read ahead leaves the FIN alone, like what is read in full.
#[test]
fn answers_left_on_others_are_no_pool() {
    let server = Endpoints {
        local: "10.0.0.1:50000".parse().unwrap(),
        remote: "10.0.0.9:9000".parse().unwrap(),
    };
    let asked = |cookie, left| {
        let local = format!("10.0.0.1:{}", 50_000 + cookie);
        let conn = conn(cookie)
            .connected()
            .used(SocketOperation::Recv, STUCK - S);
        conn.at(&local, &server.remote.to_string()).recv_q(left)
    };
    assert_eq!(world([asked(1, 1)]).verdict(), "idle-pool low info");
    let site = world([asked(1, 1), asked(2, 1), asked(3, 40_000)]).site();
    assert_eq!((site.verdict.name(), site.count), ("lost-reference", 3));
}

/// A reactor has read one request, the workers have read the others; nothing tells which worker has that one.
#[test]
fn what_a_reactor_has_read_for_blocked_workers_is_told_with_what_they_have_read() {
    let sites = |workers: &[u64]| {
        let client = |cookie, tid| {
            let mut conn = conn(cookie)
                .accepted()
                .used(SocketOperation::Recv, STUCK - S);
            if let Some(used) = &mut conn.candidate.history.used {
                (used.tid, used.switches) = (tid, 1);
            }
            conn
        };
        let reactor = Thread {
            wait: Wait::Epoll { set: 7 },
            ..thread(
                SERVER,
                "epoll_wait",
                vec![libc("epoll_wait"), frame("main", 9)],
            )
        };
        let mut server = process(SERVER);
        server.threads = 1 + workers.len() as u32;
        let asked = |cookie: &u64| {
            let mut asked = open(*cookie, (SocketOperation::Connect, STUCK), 0);
            let operations = [&mut asked.1.opened, &mut asked.1.used];
            for operation in operations.into_iter().flatten() {
                operation.tid = 400 + *cookie as u32;
            }
            asked
        };
        let asked: Vec<_> = workers.iter().map(asked).collect();
        let threads = workers.iter().map(|cookie| upstream(*cookie));
        world([client(1, 471), client(2, 472), client(3, SERVER)])
            .with_process(server)
            .with_threads(SERVER, std::iter::once(reactor).chain(threads).collect())
            .with_neighbours(&asked)
            .report()
            .sites
            .iter()
            .inspect(|site| {
                let handed = site
                    .evidence
                    .iter()
                    .filter(|line| line.contains("an event loop has read"));
                let joined = site.verdict.name() == "owner-blocked" && site.count == 3;
                assert_eq!(handed.count(), usize::from(joined), "{:?}", site.evidence);
                assert!(!site.summary.is_empty());
                let unplaced = |line: &String| line.contains("nothing tells where");
                assert!(!site.evidence.iter().any(unplaced), "{:?}", site.evidence);
            })
            .map(|site| format!("{} {}", site.verdict.name(), site.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(sites(&[71, 72, 73]), ["owner-blocked 3"]);
    assert_eq!(sites(&[71, 72]), ["owner-blocked 2", "worker-starvation 1"]);
}

/// It waited for a worker until then: that one may only be slow.
#[test]
fn who_has_just_turned_to_a_connection_does_not_keep_it_yet() {
    let turned_to_at = |at| {
        let mut own = writes_to_pipe(500, vec![libc("write"), frame("log", 40)]);
        own.began = STUCK;
        let mut world = served(own, 2);
        for conn in &mut world.conns {
            if let Some(used) = &mut conn.candidate.history.used {
                used.at = at;
            }
        }
        world.verdict()
    };
    assert_eq!(turned_to_at(STUCK + S), "owner-blocked medium leak");
    assert_eq!(turned_to_at(END - 2 * S), "owner-blocked low suspect");
}
