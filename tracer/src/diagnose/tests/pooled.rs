//! What a client keeps that its server has closed: `idle-pool`.

use super::{
    forgotten::busy,
    world::{END, S, SERVER, STUCK, conn, world},
};
use crate::model::{report::Direction, socket::SocketOperation};

#[test]
fn an_idle_pool_is_no_leak_while_it_is_bounded() {
    let pool = || (1..6).map(|n| conn(n).connected().used(SocketOperation::Recv, STUCK - S));
    let site = world(pool()).site();
    assert_eq!(site.verdict.name(), "idle-pool");
    assert_eq!(site.severity.name(), "info");
    assert_eq!(
        (site.count, site.direction),
        (5, Some(Direction::Connected))
    );
    assert_eq!(site.blame.unwrap().function.raw(), "accept_loop");
}

/// `recv()` with room to spare takes the FIN along with the end of the answer: still the same pool.
#[test]
fn an_idle_pool_may_have_read_the_fin_with_the_last_answer() {
    let along = |n| {
        conn(n)
            .connected()
            .used(SocketOperation::Recv, STUCK + S)
            .recv_q(0)
    };
    let unread = |n| conn(n).connected().used(SocketOperation::Recv, STUCK - S);
    let site = world([along(1), along(2), unread(3)]).site();
    assert_eq!(site.verdict.name(), "idle-pool");
    assert_eq!((site.severity.name(), site.count), ("info", 3));
    assert!(site.evidence[1].starts_with("1 of 3: Recv-Q is 1"));
    assert!(site.evidence[2].starts_with("2 of 3: Recv-Q is 0"));
    let unseen = world([conn(1)
        .connected()
        .used(SocketOperation::Recv, STUCK - S)
        .recv_q(0)]);
    assert_eq!(unseen.verdict(), "unknown low suspect");
}

/// By the last use of each alone it is not known whether it was a second request.
#[test]
fn that_a_thread_came_back_to_a_connection_proves_no_pool() {
    let site = |pause: u64| {
        let conns = (0..6).map(|nth: u64| {
            let at = STUCK - 40 * S + nth * pause;
            let mut conn = conn(nth + 1)
                .connected()
                .used(SocketOperation::Recv, at + 7 * S)
                .at(&format!("10.0.0.1:5000{nth}"), "10.0.0.9:6379");
            conn.candidate.history.opened.as_mut().unwrap().at = at;
            conn
        });
        world(conns.collect::<Vec<_>>()).site()
    };
    let says = |pause, doubt: &str| {
        let site = site(pause);
        let verdict = (
            site.verdict.name(),
            site.confidence.name(),
            site.severity.name(),
        );
        assert_eq!(verdict, ("idle-pool", "low", "info"));
        let evidence = site.evidence.join("; ");
        assert!(evidence.contains(doubt), "{evidence}");
    };
    says(S, "its thread used another one in between");
    says(5 * S, "while it had idle ones");
}

/// A loop turns from one to the other within their first requests, and so does a piece of work that asks two servers in turn.
#[test]
fn connections_that_take_turns_and_keep_coming_are_a_suspect_pool() {
    let jobs = |used_for: u64| {
        let conns = (0..12).flat_map(|nth: u64| {
            let at = STUCK - 5 * S + nth * 8 * S;
            [0, 1].map(|of| {
                let mut conn = conn(2 * nth + of + 1)
                    .connected()
                    .used(SocketOperation::Recv, at + used_for + of * 2)
                    .at(
                        &format!("10.0.0.1:{}", 50_000 + 2 * nth + of),
                        &format!("10.0.{of}.{nth}:80"),
                    );
                conn.candidate.history.opened.as_mut().unwrap().at = at + of;
                conn
            })
        });
        let site = world(conns.collect::<Vec<_>>()).site();
        (
            site.verdict.name(),
            site.confidence.name(),
            site.severity.name(),
        )
    };
    assert_eq!(jobs(S), ("idle-pool", "low", "suspect"));
    // What was used long after others were opened may be a pool that fills.
    assert_eq!(jobs(30 * S), ("idle-pool", "low", "info"));
}

/// A pool uses what it has before it opens more.
#[test]
fn connections_that_were_each_used_once_and_keep_coming_are_a_suspect_pool() {
    let opened_each = |pause: u64| {
        world((0..12).map(|nth| {
            let mut conn = conn(nth).connected().used(SocketOperation::Recv, STUCK - S);
            let opened = conn.candidate.history.opened.as_mut().unwrap();
            opened.at = STUCK - 5 * S + nth * pause;
            conn
        }))
        .site()
    };
    let keeps_coming = opened_each(8 * S);
    assert_eq!(
        (keeps_coming.verdict.name(), keeps_coming.severity.name()),
        ("idle-pool", "suspect")
    );
    let evidence = keeps_coming.evidence.join("; ");
    assert!(
        evidence.contains("brought more of them (3, 3, 3, 3)"),
        "{evidence}"
    );
    assert!(
        keeps_coming
            .advice
            .starts_with("That a pool keeps them is not proven")
    );
    assert_eq!(opened_each(S).severity.name(), "info");
}

#[test]
fn an_idle_pool_that_goes_on_growing_is_a_leak() {
    // Old enough to be reported, and spread over a watch twice as long.
    let born = |n: u64| {
        conn(n)
            .connected()
            .used(SocketOperation::Recv, STUCK)
            .since(STUCK + n * S)
    };
    let mut growing = world((1..29).map(born));
    growing.run_header.min_age_ns = S;
    growing.run_header.at = END - 380 * S;
    for (n, conn) in growing.conns.iter_mut().enumerate() {
        conn.candidate.since = END - 379 * S + n as u64 * 13 * S;
    }
    let site = growing.site();
    assert_eq!(site.verdict.name(), "idle-pool");
    assert_eq!(site.severity.name(), "leak");
    assert!(site.growth_per_minute.unwrap() > 4.0);
}

#[test]
fn an_idle_pool_needs_a_connection_made_here_with_only_the_fin_unread() {
    let unread_data = conn(1)
        .connected()
        .used(SocketOperation::Recv, STUCK - S)
        .recv_q(9);
    assert_eq!(world([unread_data]).verdict(), "lost-reference high leak");
    // What a server says when it hangs up comes with its FIN, long after the last answer.
    let parting = |cookie, at| {
        let mut conn = conn(cookie).connected().recv_q(117);
        conn.item.last_data = at;
        conn.used(SocketOperation::Recv, STUCK - 5 * S)
    };
    assert_eq!(world([parting(1, STUCK)]).verdict(), "idle-pool low info");
    let earlier = world([parting(1, STUCK - 2 * S)]);
    assert_eq!(earlier.verdict(), "lost-reference high leak");
    let accepted = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    assert_eq!(world([accepted]).verdict(), "lost-reference high leak");
    let in_use = world([conn(1).connected().used(SocketOperation::Recv, END - S)])
        .with_threads(SERVER, busy("futex", "handle", 22));
    assert_eq!(in_use.verdict(), "owner-blocked low leak");
}
