//! Connections of which no more is known than the call that used them last, or than their port.

use super::world::{Conn, S, SERVER, STUCK, conn, frame, libc, names, process, thread, world};
use crate::model::{input::Thread, socket::SocketOperation, wait::Wait};

/// Each by a thread of its own through the same calls, none of which is the program's; one thread could not be looked at.
#[test]
fn a_few_that_the_same_calls_used_are_told_with_those_of_which_more_is_known() {
    let sites = |unseen: u64, other_call: bool| {
        let all = 1..=4 + unseen;
        let conns = all.map(|cookie| {
            let mut conn = conn(cookie)
                .accepted()
                .used(SocketOperation::Recv, STUCK - S);
            if let Some(used) = &mut conn.candidate.history.used {
                (used.tid, used.switches) = (500 + cookie as u32, 1);
                used.stack = if other_call && cookie > 4 { 7 } else { 6 };
            }
            conn
        });
        let waits = |tid| Thread {
            began: STUCK,
            wait: Wait::Futex { address: 8 },
            ..thread(tid, "futex", vec![libc("futex"), frame("wait", 40)])
        };
        let mut server = process(SERVER);
        server.threads = 5 + unseen as u32;
        let report = world(conns)
            .with_stack(6, vec![libc("recv")])
            .with_stack(7, vec![libc("read")])
            .with_process(server)
            .with_threads(SERVER, (501..505).map(waits).collect())
            .report();
        let said =
            "of 1 of the 5 nothing else is known: the same calls used them last as the others";
        let first = report.sites[0].evidence.iter();
        assert_eq!(
            first.filter(|line| *line == said).count(),
            usize::from(unseen == 1 && !other_call)
        );
        let told = report.sites.iter();
        told.map(|site| (site.verdict.name(), site.count))
            .collect::<Vec<_>>()
    };
    assert_eq!(sites(1, false), [("owner-blocked", 5)]);
    let apart = [("owner-blocked", 4), ("lost-reference", 1)];
    assert_eq!(sites(1, true), apart);
    assert_eq!(
        sites(2, false),
        [("owner-blocked", 4), ("lost-reference", 2)]
    );
}

/// The finding has sockets at all ports: what is compared is what it has at the port of the few.
#[test]
fn a_few_are_compared_with_those_of_their_own_port_and_the_same_at_every_look() {
    let told = || {
        let mut world = world((1..=4).flat_map(|port: u64| {
            let local = format!("10.0.0.1:808{port}");
            let at =
                move |nth: u64, conn: Conn| conn.at(&local, &format!("10.0.1.1:4{port}{nth:03}"));
            let own = (0..6).map(|nth| conn(port * 100 + nth).accepted().eof());
            let older = (6..6 + port).map(|nth| conn(port * 100 + nth).older());
            let all = own.chain(older).zip(0..).map(|(conn, nth)| at(nth, conn));
            all.collect::<Vec<_>>()
        }));
        for port in 1..=4 {
            world = world.with_listener(&format!("0.0.0.0:808{port}"), &[SERVER], 0);
        }
        let sites = world.report().sites;
        let lines = sites.iter().flat_map(|site| &site.evidence);
        let said = lines.filter(|line| line.contains("nothing tells")).cloned();
        (
            names(&sites),
            sites.iter().map(|site| site.count).collect::<Vec<_>>(),
            said.collect::<Vec<_>>(),
        )
    };
    let (_, counts, said) = told();
    // Of two ports there are few enough.
    assert_eq!(counts, [27, 7]);
    assert_eq!(
        said,
        [
            "of 3 of the 27 nothing tells where they were used: others here have the same port and program"
        ]
    );
    for _ in 0..20 {
        assert_eq!(told(), told());
    }
}
