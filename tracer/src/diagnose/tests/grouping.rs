//! Sites are exact: nothing counted twice or lost, the same leak always under the same name.

use tracer_common::state::CLOSE;

use super::world::{
    Conn, S, SERVER, STUCK, World, conn, frame, libc, process, report, thread, world,
};
use crate::model::{
    input::{CloseCount, Input},
    report::Site,
    socket::SocketOperation,
    stack::Stack,
    verdict::Confidence,
};

fn eofs(cookies: impl Iterator<Item = u64>) -> Vec<Conn> {
    cookies.map(|n| conn(n).accepted().eof()).collect()
}

/// Eight at one place, three at another, two of another verdict, one older.
fn mixed() -> World {
    let mut conns = eofs(1..9);
    conns.extend((11..14).map(|n| conn(n).accepted().used(SocketOperation::Recv, STUCK - S)));
    conns.extend((21..23).map(|n| conn(n).unaccepted()));
    conns.push(conn(31).older());
    world(conns)
}

#[test]
fn the_counts_of_the_sites_add_up_to_what_is_stuck() {
    let report = mixed().report();
    let counts: Vec<u64> = report.sites.iter().map(|site| site.count).collect();
    assert_eq!(counts, [8, 3, 2, 1]);
    assert_eq!(counts.iter().sum::<u64>(), report.totals.stuck);
    assert_eq!(report.totals.unaccepted, 2);
    for site in &report.sites {
        assert_eq!(site.sockets.len() as u64 + site.sockets_omitted, site.count);
    }
}

#[test]
fn sockets_are_shown_oldest_first_and_at_most_as_many_as_asked_for() {
    let born = |n: u64| conn(n).accepted().eof().since(STUCK + (10 - n) * S);
    let site = world((1..9).map(born)).site();
    let shown: Vec<u64> = site.sockets.iter().map(|socket| socket.cookie.0).collect();
    assert_eq!(shown, [8, 7, 6, 5, 4]);
    assert_eq!(site.sockets_omitted, 3);
    let oldest = site.sockets[0].age_seconds;
    assert!((site.oldest_seconds - oldest).abs() < 0.001);
}

#[test]
fn a_function_whose_caller_nobody_knows_is_told_with_low_confidence() {
    let known = Stack {
        frames: vec![libc("recv"), frame("drain", 30)],
        ..Stack::default()
    };
    let cut = Stack {
        truncated: true,
        one_of_several: true,
        ..known.clone()
    };
    let told = |stack| {
        let world = world(eofs(1..3)).with(Input::Stack { key: 3, stack });
        world.site().confidence
    };
    assert_eq!(told(known), Confidence::High);
    assert_eq!(told(cut), Confidence::Low);
}

fn id(world: World) -> String {
    world.site().id
}

#[test]
fn a_leak_keeps_its_id_across_pids_addresses_ports_and_restarts() {
    let first = id(world(eofs(1..3)));
    let restarted = |pid: u32| {
        let other = |conn: Conn| {
            conn.of(pid)
                .stacks_from(10)
                .at("10.9.9.9:8080", "192.0.2.7:1")
        };
        world(eofs(5..6).into_iter().map(other))
            .with_process(process(pid))
            .with_stack(11, vec![libc("accept"), frame("accept_loop", 10)])
            .with_stack(13, vec![libc("recv"), frame("drain", 30)])
    };
    assert_eq!(id(restarted(4711)), first);
    // The names may be missing in a stripped build: places count, not names.
    let nameless = world(eofs(1..2)).with_stack(
        3,
        vec![libc("recv"), {
            let mut frame = frame("drain", 30);
            frame.function = None;
            frame
        }],
    );
    assert_eq!(id(nameless), first);
}

/// Before a runtime's layout is learnt only the innermost of its calls are known.
#[test]
fn the_runtimes_own_calls_make_no_two_findings() {
    let early = (1..4).map(|n| conn(n).accepted());
    let late = (4..9).map(|n| conn(n).accepted().stacks_from(10));
    let site = world(early.chain(late))
        .with_stack(1, vec![libc("accept4")])
        .with_stack(11, vec![libc("accept4"), libc("start_thread")])
        .site();
    assert_eq!((site.verdict.name(), site.count), ("never-read", 8));
}

/// Users keep these ids in dashboards and baselines. No change of the code may change them.
#[test]
fn ids_are_the_same_in_every_version() {
    let ids: Vec<(String, String)> = mixed()
        .report()
        .sites
        .into_iter()
        .map(|site| (site.verdict.to_string(), site.id))
        .collect();
    let ids: Vec<(&str, &str)> = ids.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let expected = [
        ("eof-ignored", "666cadcbf2365527"),
        ("lost-reference", "55f0fe5e3c67ac09"),
        ("never-accepted", "e730bff1f0e3a167"),
        ("unknown", "c78008f39ef892f7"),
    ];
    assert_eq!(ids, expected);
}

#[test]
fn another_place_build_program_or_verdict_is_another_id() {
    let first = id(world(eofs(1..2)));
    let stack = |frame| world(eofs(1..2)).with_stack(3, vec![libc("recv"), frame]);
    assert_ne!(id(stack(frame("drain", 31))), first);
    let mut rebuilt = frame("drain", 30);
    rebuilt.build_id = Some("other".to_owned());
    assert_ne!(id(stack(rebuilt)), first);
    let mut program = process(SERVER);
    program.exe = Some("/usr/bin/other".to_owned());
    assert_ne!(id(world(eofs(1..2)).with_process(program)), first);
    let lost = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    assert_ne!(id(world([lost])), first);
}

#[test]
fn the_order_of_the_inputs_is_not_in_the_report() {
    let json = |sites: &[Site]| serde_json::to_string(sites).unwrap();
    let forwards = mixed().report();
    let mut turned = mixed();
    turned.conns.reverse();
    turned.inputs.reverse();
    assert_eq!(json(&turned.report().sites), json(&forwards.sites));
}

#[test]
fn one_leak_in_two_processes_of_one_executable_is_one_site() {
    let mut conns = eofs(1..3);
    conns.extend(
        eofs(3..6)
            .into_iter()
            .map(|conn| conn.of(101).stacks_from(10)),
    );
    let site = world(conns)
        .with_process(process(101))
        .with_stack(13, vec![libc("recv"), frame("drain", 30)])
        .site();
    assert_eq!((site.count, site.processes), (5, 2));
    // The one with most of them stands for both.
    assert_eq!(site.process.unwrap().pid, 101);
}

#[test]
fn a_site_is_as_sure_as_the_weakest_of_its_sockets() {
    let sure = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    let unsure = conn(2).used(SocketOperation::Recv, STUCK - S);
    assert_eq!(
        world([sure, unsure]).verdict(),
        "lost-reference medium leak"
    );
}

#[test]
fn ends_are_shown_where_they_are_shared() {
    let site = world(eofs(1..3)).site();
    assert_eq!(site.local.unwrap().to_string(), "10.0.0.1:8080");
    assert_eq!(site.peers.len(), 2);
    let apart = [
        conn(1).accepted().eof().at("10.0.0.1:1000", "10.0.0.9:80"),
        conn(2).accepted().eof().at("10.0.0.1:1001", "10.0.0.9:80"),
    ];
    let site = world(apart).site();
    assert_eq!((site.local, site.peers.len()), (None, 1));
}

#[test]
fn without_a_stack_the_port_tells_processes_apart_and_the_far_service_tells_sites_apart() {
    let bare = |conn: Conn| conn.stacks_from(100);
    let at = |n, port| bare(conn(n).accepted().eof()).at(port, "10.0.0.9:9");
    let to = |n, peer| bare(conn(n).connected().eof()).at("10.0.0.1:5000", peer);
    let counts = |conns: Vec<Conn>| -> Vec<u64> {
        let report = world(conns).with_process(process(300)).report();
        report.sites.iter().map(|site| site.count).collect()
    };
    let (a, b) = ("10.0.0.1:80", "10.0.0.1:81");
    assert_eq!(counts(vec![at(1, a), at(2, a), at(3, b).of(300)]), [2, 1]);
    assert_eq!(counts(vec![at(1, a), at(2, a), at(3, b)]), [3]);
    let (one, other, database) = ("10.0.0.7:80", "10.0.0.8:80", "10.0.0.7:5432");
    assert_eq!(
        counts(vec![to(1, one), to(2, other), to(3, database)]),
        [2, 1]
    );
}

/// They were there before the tracer; nobody but the port tells what they are of.
#[test]
fn a_few_without_a_place_are_told_with_the_only_finding_that_can_be_theirs() {
    let with_older = |own: u64, older: u64| {
        let mut conns = eofs(1..=own);
        conns.extend((100..100 + older).map(|n| conn(n).older()));
        world(conns).with_listener("0.0.0.0:8080", &[SERVER], 0)
    };
    let site = with_older(6, 2).site();
    assert_eq!((site.verdict.name(), site.count), ("eof-ignored", 8));
    assert_eq!(site.id, with_older(6, 0).site().id);
    let said =
        "of 2 of the 8 nothing tells where they were used: the same port and program as the others";
    assert!(
        site.evidence.iter().any(|line| line == said),
        "{:#?}",
        site.evidence
    );
    let counts =
        |world: World| -> Vec<u64> { world.report().sites.iter().map(|site| site.count).collect() };
    // The kernel has ended these: they are no more of that than it is of them.
    let mut ended = eofs(1..7);
    ended.extend((100..102).map(|n| {
        let mut older = conn(n).older();
        older.item.state = CLOSE;
        older
    }));
    let ended = world(ended).with_listener("0.0.0.0:8080", &[SERVER], 0);
    assert_eq!(counts(ended), [6, 2]);
    // Too many, or of either of two.
    assert_eq!(counts(with_older(6, 3)), [6, 3]);
    assert_eq!(counts(mixed()), [8, 3, 2, 1]);
    let mut elsewhere = eofs(1..7);
    elsewhere.push(conn(9).older().at("10.0.0.1:81", "10.0.0.9:9"));
    let elsewhere = world(elsewhere)
        .with_listener("0.0.0.0:8080", &[SERVER], 0)
        .with_listener("0.0.0.0:81", &[SERVER], 0);
    assert_eq!(counts(elsewhere), [6, 1]);
}

/// Nobody is blamed, and of one nothing is proven: most likely it is as the others are.
#[test]
fn a_few_of_which_nothing_is_proven_are_told_with_many_that_nobody_is_blamed_for() {
    let with_unproven = |own: u64, unproven: u64| {
        let mut conns = eofs(1..=own);
        let fds: Vec<u32> = (100..100 + unproven as u32).collect();
        let watched = |fd: &u32| {
            conn(u64::from(*fd))
                .accepted()
                .used(SocketOperation::Recv, STUCK - S)
        };
        conns.extend(fds.iter().map(watched));
        world(conns)
            .with_stack(2, vec![libc("recv")])
            .with_stack(3, vec![libc("recv")])
            .with_epoll(SERVER, &fds)
    };
    let site = with_unproven(6, 2).site();
    assert_eq!((site.verdict.name(), site.count), ("eof-ignored", 8));
    let said =
        "of 2 of the 8 nothing proves why they are stuck: the same port and program as the others";
    assert!(
        site.evidence.iter().any(|line| line == said),
        "{:#?}",
        site.evidence
    );
    assert_eq!(with_unproven(6, 3).report().sites.len(), 2);
}

/// Interpreters and runtimes take other ways at other times.
#[test]
fn without_a_place_other_frames_of_the_runtime_are_no_other_site() {
    let conns = eofs(1..3)
        .into_iter()
        .chain(eofs(3..4).into_iter().map(|conn| conn.stacks_from(10)));
    let site = world(conns)
        .with_stack(3, vec![libc("recv")])
        .with_stack(13, vec![libc("__libc_recv"), libc("recv")])
        .site();
    assert_eq!((site.count, site.blame), (3, None));
}

/// What has to be fetched is asked for, and nothing of sockets that are not stuck.
#[test]
fn data_requests_name_what_the_rules_will_look_at() {
    let young = conn(9)
        .accepted()
        .used(SocketOperation::Recv, STUCK)
        .since(super::world::END);
    let stuck = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    let close_counts = [(41, 50), (60, 61), (70, 71)].map(|(opened, closed)| CloseCount {
        opened,
        closed,
        count: 5,
    });
    let tracker = world([young.of(300), stuck.stacks_from(40)])
        .with_threads(SERVER, vec![thread(SERVER, "read", vec![])])
        .with(Input::CloseCount(close_counts.to_vec()))
        .tracker();
    // What another process opened is no sibling.
    let taken_of = |key| Some(if key < 70 { SERVER } else { 300 });
    let data_requests = crate::diagnose::data_requests(&tracker, &|_| None, &taken_of);
    assert_eq!(Vec::from_iter(data_requests.stacks), [41, 42, 50, 60, 61]);
    assert_eq!(Vec::from_iter(data_requests.processes), [SERVER]);
    assert_eq!(Vec::from_iter(data_requests.epolls), [SERVER]);
    assert_eq!(Vec::from_iter(data_requests.threads), [SERVER]);
    assert_eq!(report(&tracker).totals.stuck, 1);
}

fn closed(opened: u64, closed: u64, count: u64) -> Input {
    Input::CloseCount(vec![CloseCount {
        opened,
        closed,
        count,
    }])
}

/// What ends an investigation: the path that does close, and how often.
#[test]
fn siblings_that_were_closed_are_counted_and_their_close_is_shown() {
    let leaking = || world([conn(1).accepted().eof(), conn(2).accepted().eof()]);
    let close = || vec![libc("close"), frame("conn_free", 70)];
    let site = leaking()
        .with(closed(1, 9, 412))
        .with_stack(9, close())
        .site();
    assert_eq!(site.siblings_closed, Some(412));
    assert_eq!(
        site.stacks.sibling_close.unwrap()[1].function.as_deref(),
        Some("conn_free")
    );
    assert_eq!(
        site.evidence.last().map(String::as_str),
        Some(
            "412 connections opened at the same place were closed meanwhile in conn_free; these 2 \
             were not"
        )
    );
    // Opened elsewhere, or closed where nobody knows.
    assert_eq!(
        leaking()
            .with(closed(2, 9, 412))
            .with_stack(9, close())
            .site()
            .siblings_closed,
        None
    );
    assert_eq!(
        leaking().with(closed(1, 9, 412)).site().siblings_closed,
        None
    );
    let tracker = leaking().with(closed(1, 9, 412)).tracker();
    let data_requests = crate::diagnose::data_requests(&tracker, &|_| None, &|_| Some(SERVER));
    assert!(data_requests.stacks.contains(&9));
}

#[test]
fn of_several_closing_places_the_most_frequent_is_shown_and_all_are_counted() {
    let pair = |closed, count| CloseCount {
        opened: 1,
        closed,
        count,
    };
    let site = world([conn(1).accepted().eof()])
        .with(Input::CloseCount(vec![pair(8, 5), pair(9, 3), pair(10, 4)]))
        .with_stack(8, vec![libc("close"), frame("on_error", 60)])
        .with_stack(9, vec![libc("close"), frame("conn_free", 70)])
        .with_stack(10, vec![libc("close"), frame("conn_free", 70)])
        .site();
    assert_eq!(site.siblings_closed, Some(12));
    assert_eq!(
        site.evidence.last().map(String::as_str),
        Some(
            "12 connections opened at the same place were closed meanwhile, 7 of them in conn_free; \
             this one was not"
        )
    );
}
