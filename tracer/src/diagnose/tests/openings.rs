//! Outgoing connections that a loop used last: who opened them is blamed, and it is said that this is all that is known of it.

use super::world::{S, SERVER, STUCK, conn, frame, libc, names, world};
use crate::model::{
    report::Site,
    socket::SocketOperation,
    stack::{Frame, Stack},
};

/// Connections 1, 2, … opened along these stacks, and read last by a loop that has none of the program's functions.
fn sites(opened: Vec<Vec<Frame>>, read_by: Frame) -> Vec<Site> {
    let conns = (1..).zip(&opened).map(|(cookie, _)| {
        let mut conn = conn(cookie)
            .connected()
            .used(SocketOperation::Recv, STUCK - S)
            .at(&format!("10.0.0.1:5000{cookie}"), "10.0.0.9:80")
            .recv_q(900);
        if let Some(opened) = &mut conn.candidate.history.opened {
            opened.stack = 100 + cookie;
        }
        conn
    });
    let mut world = world(conns.collect::<Vec<_>>()).with_stack(2, vec![libc("recv"), read_by]);
    for (key, frames) in (101..).zip(opened) {
        world = world.with_stack(key, frames);
    }
    world.report().sites
}

fn opened_in(function: &str, offset: u64) -> Vec<Frame> {
    vec![libc("connect"), frame(function, offset), frame("main", 1)]
}

#[test]
fn who_opened_it_is_blamed_where_a_loop_used_it_last() {
    let sites = sites(
        vec![opened_in("check_stock", 50), opened_in("check_stock", 50)],
        libc("run_loop"),
    );
    let [site] = sites.as_slice() else {
        panic!("{:?}", names(&sites))
    };
    assert_eq!((site.verdict.name(), site.count), ("lost-reference", 2));
    assert_eq!(site.blame.as_ref().unwrap().function.raw(), "check_stock");
    assert!(site.summary.ends_with("; opened in check_stock"));
    // That it opened them does not prove that it should close them, and it has not used them.
    assert_eq!(site.confidence.name(), "medium");
    assert!(!site.summary.contains("used in check_stock"));
    let says = |part: &str| site.evidence.iter().any(|line| line.contains(part));
    assert!(says("they were opened in check_stock"));
    assert!(site.advice.starts_with("Begin at check_stock"));
}

#[test]
fn one_loop_used_what_several_opened() {
    let sites = sites(
        vec![opened_in("check_stock", 50), opened_in("load_report", 60)],
        libc("run_loop"),
    );
    let mut blamed: Vec<_> = (sites.iter())
        .map(|site| site.blame.as_ref().unwrap().function.raw())
        .collect();
    blamed.sort_unstable();
    assert_eq!(blamed, ["check_stock", "load_report"]);
    // One of them may use what the other has opened and given to a pool.
    assert!(sites.iter().all(|site| site.confidence.name() == "low"));
    let says = "another function may have been the last to use one";
    assert!(sites[0].evidence.iter().any(|line| line.contains(says)));
}

#[test]
fn who_used_it_itself_is_blamed_as_before() {
    let sites = sites(vec![opened_in("check_stock", 50)], frame("read_answer", 20));
    assert_eq!(
        sites[0].blame.as_ref().unwrap().function.raw(),
        "read_answer"
    );
    assert!(!sites[0].summary.contains("opened in"));
}

#[test]
fn who_may_only_open_for_others_is_blamed_with_low_confidence() {
    let part = Stack {
        frames: vec![libc("connect"), frame("check_stock", 50)],
        one_of_several: true,
        ..Stack::default()
    };
    let mut conn = conn(1)
        .connected()
        .used(SocketOperation::Recv, STUCK - S)
        .recv_q(900);
    if let Some(opened) = &mut conn.candidate.history.opened {
        opened.stack = 101;
    }
    let site = world([conn])
        .with_stack(2, vec![libc("recv"), libc("run_loop")])
        .with(crate::model::input::Input::Stack {
            key: 101,
            stack: part,
        })
        .site();
    assert_eq!(site.blame.unwrap().function.raw(), "check_stock");
    assert_eq!(site.confidence.name(), "low");
}

/// A loop may have used it, or who is beyond the end of what is known.
#[test]
fn no_loop_is_named_where_the_stack_of_the_last_use_is_not_whole() {
    let conns = [1, 2].map(|cookie| {
        conn(cookie)
            .connected()
            .used(SocketOperation::Recv, STUCK - S)
            .recv_q(900)
    });
    let cut = Stack {
        frames: vec![libc("recv"), libc("run_loop")],
        truncated: true,
        ..Stack::default()
    };
    let site = world(conns)
        .with_stack(1, opened_in("check_stock", 50))
        .with(crate::model::input::Input::Stack { key: 2, stack: cut })
        .site();
    assert_eq!(site.blame.unwrap().function.raw(), "check_stock");
    assert_eq!(site.confidence.name(), "low");
    let says = |part: &str| site.evidence.iter().any(|line| line.contains(part));
    assert!(says("is not known to the end of the stack") && !says("an event loop or a library"));
}

/// It says nothing of whoever accepted it.
#[test]
fn nobody_is_blamed_for_accepting_it() {
    let accepted = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    let site = world([accepted])
        .with_stack(2, vec![libc("recv"), libc("run_loop")])
        .site();
    assert_eq!((site.verdict.name(), site.blame), ("lost-reference", None));
}

/// A server that forks for each connection and forgets its own copy.
#[test]
fn who_keeps_what_another_process_used_is_blamed() {
    let used_by = |pid| {
        let mut conn = conn(1).accepted().used(SocketOperation::Send, STUCK - S);
        if let Some(used) = &mut conn.candidate.history.used {
            (used.pid, used.tid) = (pid, pid);
        }
        world([conn])
            .with_stack(2, vec![libc("send"), frame("serve", 20), frame("main", 1)])
            .site()
    };
    let forked = used_by(900);
    assert_eq!(forked.blame.as_ref().unwrap().function.raw(), "accept_loop");
    let says = "another process, which does not hold it any more";
    assert!(forked.evidence.iter().any(|line| line.contains(says)));
    // Whether its threads have ended was not looked at.
    let looked = forked.evidence.join("; ");
    assert!(
        looked.contains("the process that touched it last holds it no more"),
        "{looked}"
    );
    assert!(!looked.contains("has ended"), "{looked}");
    assert_eq!(used_by(SERVER).blame.unwrap().function.raw(), "serve");
}

/// As after the tracer began to watch a client that runs already.
#[test]
fn a_connection_whose_opening_was_not_seen_may_be_a_clients() {
    let used = || conn(1).used(SocketOperation::Recv, STUCK - 5 * S);
    let of = |local: &str, remote: &str| world([used().at(local, remote)]).verdict();
    assert_eq!(of("10.0.0.1:45000", "10.0.0.9:6379"), "idle-pool low info");
    let served = of("10.0.0.1:6379", "10.0.0.9:45000");
    assert!(served.starts_with("lost-reference "), "{served}");
}

/// The runtime was not known yet when the first was opened; the service has many hosts.
#[test]
fn one_whose_opening_is_known_in_part_is_told_with_those_that_were_used_alike() {
    let counts = |port: u16| -> Vec<u64> {
        let conns = (1..=4).map(|cookie| {
            let port = if cookie == 1 { port } else { 6379 };
            let mut conn = conn(cookie)
                .connected()
                .used(SocketOperation::Recv, STUCK - S)
                .at(
                    &format!("10.0.0.1:5000{cookie}"),
                    &format!("10.0.0.{cookie}:{port}"),
                );
            if let Some(opened) = &mut conn.candidate.history.opened {
                opened.stack = if cookie == 1 { 100 } else { 101 };
            }
            conn
        });
        let report = world(conns.collect::<Vec<_>>())
            .with_stack(2, vec![libc("recv"), frame("ask_cache", 20)])
            .with_stack(100, vec![libc("connect")])
            .with_stack(101, opened_in("ask_cache", 10))
            .report();
        report.sites.iter().map(|site| site.count).collect()
    };
    assert_eq!(counts(6379), [4]);
    assert_eq!(counts(6380), [3, 1]);
}
