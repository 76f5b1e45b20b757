//! Threads that a server's own code started, in code of the program that it has called.

use super::{
    crowds::open,
    world::{END, S, SERVER, STUCK, World, conn, operation, process, thread, world},
};
use crate::{
    diagnose::{self, Style},
    model::{
        input::Thread,
        report::Site,
        socket::SocketOperation,
        stack::{Frame, PYTHON},
    },
};

fn python(function: &str, file: &str) -> Frame {
    Frame {
        function: Some(function.to_owned()),
        module: Some(PYTHON.to_owned()),
        file: Some(file.to_owned()),
        ..Frame::default()
    }
}

/// The program's own before a library's, and neither the runtime's.
fn blamed(frames: &[Frame]) -> Option<usize> {
    let of = |folder: &str| {
        let is_of = |frame: &Frame| {
            frame
                .file
                .as_deref()
                .unwrap_or_default()
                .starts_with(folder)
        };
        frames.iter().position(is_of)
    };
    of("/srv/").or_else(|| of("/lib/"))
}

fn dispatcher() -> Thread {
    let stack = vec![
        python("poll", "/runtime/select.py"),
        python("loop", "/lib/server/reactor.py"),
        python("main", "/srv/shop.py"),
    ];
    thread(SERVER, "accept", stack)
}

/// A worker of the server, or of a pool of the program when it has not come there through two files of a library.
fn worker(nth: u32, through: &[&str]) -> Thread {
    let mut stack = vec![
        python("wait", "/runtime/threading.py"),
        python("reserve", "/srv/stock.py"),
    ];
    stack.extend(through.iter().map(|file| python("serve", file)));
    stack.push(python("bootstrap", "/runtime/threading.py"));
    Thread {
        comm: format!("serve-{nth}"),
        since: Some(END - 70 * S),
        ..thread(500 + nth, "futex", stack)
    }
}

/// The dispatcher reads all requests; of the workers some have answered a client before.
fn shop(through: &[&str], answers: u32) -> World {
    let mut server = process(SERVER);
    server.threads = 4;
    let mut threads = vec![dispatcher()];
    threads.extend([1, 2, 3].map(|nth| worker(nth, through)));
    let answered = (1..=answers).map(|nth| {
        let mut client = open(
            80 + u64::from(nth),
            (SocketOperation::Accept, STUCK - 5 * S),
            0,
        );
        let mut send = operation(SocketOperation::Send, STUCK - 4 * S, 4);
        send.tid = 500 + nth;
        client.1.used = Some(send);
        client
    });
    let around: Vec<_> = answered
        .chain([open(70, (SocketOperation::Accept, STUCK), 0)])
        .collect();
    world([conn(1)
        .accepted()
        .used(SocketOperation::Recv, STUCK - 4 * S)])
    .with_process(server)
    .with_threads(SERVER, threads)
    .with_neighbours(&around)
}

fn site(world: World) -> Site {
    let style = Style {
        sockets_per_site: 5,
    };
    let report = diagnose::report(&world.tracker(), style, &blamed).unwrap();
    let mut sites = report.report.sites;
    assert_eq!(sites.len(), 1);
    sites.remove(0)
}

fn told(site: &Site) -> (String, &'static str) {
    (site.verdict.to_string(), site.confidence.name())
}

const SERVERS: [&str; 2] = ["/lib/server/request.py", "/lib/server/pool.py"];

#[test]
fn a_servers_workers_that_wait_in_the_programs_code_are_busy() {
    let site = site(shop(&SERVERS, 2));
    assert_eq!(
        told(&site),
        ("worker-starvation".to_owned(), "medium"),
        "{:?}",
        site.evidence
    );
    assert_eq!(site.blame.unwrap().function.raw(), "reserve");
}

/// What only wraps threads of the program is of one file; threads that have served nobody may be there for something else.
#[test]
fn others_that_wait_there_may_be_free() {
    let wrapped = |served| told(&site(shop(&SERVERS[..1], served)));
    assert_eq!(wrapped(0), ("lost-reference".to_owned(), "low"));
    assert_eq!(wrapped(2), ("lost-reference".to_owned(), "low"));
    let new = site(shop(&SERVERS, 0));
    assert_eq!(told(&new), ("lost-reference".to_owned(), "low"));
    let says = "it may lie in the queue of a worker that is busy";
    assert!(new.evidence.join("; ").contains(says), "{:?}", new.evidence);
}

/// It is not the one that has accepted, and has no connection of its own to serve.
#[test]
fn what_a_servers_loop_has_read_may_be_with_its_workers() {
    let mut world = shop(&SERVERS, 0);
    for conn in &mut world.conns {
        if let Some(opened) = &mut conn.candidate.history.opened {
            opened.tid = 400;
        }
    }
    assert_eq!(told(&site(world)), ("lost-reference".to_owned(), "low"));
}
