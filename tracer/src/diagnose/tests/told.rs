//! What one report told, no later one denies.

use proptest::prelude::*;
use tracer_common::state::{CLOSE, CLOSE_WAIT, LAST_ACK};

use super::world::{Conn, END, S, SERVER, STUCK, conn, frame, process, world};
use crate::{
    diagnose::{Ledger, Style},
    model::{
        input::{CloseCount, Input, Inventory, Item, Task, Transition},
        report::{Ended, Report},
        socket::SocketOperation,
        stack::{Frame, Stack},
        verdict::Verdict,
    },
    track::{
        Tracker,
        tests::arbitrary::{inputs, run_header},
    },
};

pub fn report(ledger: &mut Ledger, tracker: &Tracker) -> Report {
    let blamer = |frames: &[Frame]| {
        let own = |frame: &Frame| frame.module.as_deref() != Some("libc.so.6");
        frames.iter().position(own)
    };
    let style = Style {
        sockets_per_site: 5,
    };
    ledger.report(tracker, style, &blamer).unwrap().report
}

fn end(conn: &Conn, at: u64, exiting: bool) -> Input {
    Input::Transition(transition(conn, at, exiting))
}

pub fn transition(conn: &Conn, at: u64, exiting: bool) -> Transition {
    Transition {
        at,
        cookie: conn.item.cookie,
        since: STUCK,
        stack: 0,
        endpoints: conn.item.endpoints,
        netns: 1,
        old: CLOSE_WAIT,
        new: LAST_ACK,
        shutdown: 3,
        dead: false,
        has_socket: true,
        untouched: false,
        recv_q: None,
        task: Some(Task {
            pid: SERVER,
            tid: SERVER,
            comm: "server".to_owned(),
            exiting,
            killed: false,
        }),
    }
}

pub fn inventory(at: u64, items: Vec<Item>) -> Input {
    Input::Inventory(Inventory {
        from: at,
        to: at,
        items,
        holders: Vec::new(),
        complete: true,
    })
}

fn eof(cookie: u64) -> Conn {
    conn(cookie).accepted().eof()
}

/// Nobody had seen the collector run when the first of them were told of.
#[test]
fn what_the_collector_closed_is_part_of_its_finding() {
    let used = |n| conn(n).accepted().used(SocketOperation::Send, STUCK - S);
    let mut tracker = world([used(1), used(2)]).tracker();
    let mut ledger = Ledger::default();
    let told = report(&mut ledger, &tracker).sites.remove(0);
    assert_eq!(told.verdict, Verdict::LostReference);
    for n in [1, 2] {
        tracker.apply(end(&used(n), END + S, false));
    }
    tracker.apply(Input::CloseCount(vec![CloseCount {
        opened: 1,
        closed: 9,
        count: 2,
    }]));
    tracker.apply(Input::Stack {
        key: 9,
        stack: Stack {
            thread: Some("Common-Cleaner".to_owned()),
            pid: Some(SERVER),
            frames: vec![frame("dispose", 90)],
            ..Stack::default()
        },
    });
    tracker.apply(Input::StuckCandidate(used(3).candidate));
    tracker.apply(inventory(END + 2 * S, vec![used(3).item]));
    let sites = report(&mut ledger, &tracker).sites;
    assert_eq!(sites.len(), 1);
    let site = &sites[0];
    assert_eq!((site.verdict, site.count), (Verdict::GcDependent, 1));
    let said = "2 connections opened at the same place were seen as lost-reference before";
    assert!(
        site.evidence.iter().any(|line| line.starts_with(said)),
        "{:?}",
        site.evidence
    );
}

#[test]
fn a_finding_that_ended_is_over_and_keeps_what_was_known() {
    let mut tracker = world([eof(1), eof(2)]).tracker();
    let mut ledger = Ledger::default();
    let told = report(&mut ledger, &tracker).sites.remove(0);
    assert_eq!((told.count, &told.over), (2, &None));
    tracker.apply(end(&eof(1), END + S, false));
    tracker.apply(inventory(END + 2 * S, vec![eof(2).item]));
    let half = report(&mut ledger, &tracker).sites.remove(0);
    assert_eq!((half.count, &half.over), (1, &None));
    let evidence = half.evidence.join("; ");
    let said =
        "1 connection beside this one was stuck here before and has ended: 1 closed by the program";
    assert!(evidence.contains(said), "{evidence}");
    // The one that is left may be closed as soon.
    assert_eq!(half.confidence.name(), "low");
    assert!(
        evidence.contains("it may close them all in time"),
        "{evidence}"
    );
    tracker.apply(inventory(END + 60 * S, vec![eof(2).item]));
    let older = report(&mut ledger, &tracker).sites.remove(0);
    let evidence = older.evidence.join("; ");
    assert!(!evidence.contains("in time"), "{evidence}");

    tracker.apply(end(&eof(2), END + 3 * S, false));
    for at in [END + 4 * S, END + 5000 * S] {
        tracker.apply(inventory(at, vec![]));
        let report = report(&mut ledger, &tracker);
        assert_eq!(report.totals.stuck, 0);
        let site = report.sites.first().unwrap();
        assert_eq!((site.id.as_str(), site.count), (told.id.as_str(), 2));
        let over = site.over.as_ref().unwrap();
        assert_eq!(over.how, Some(Ended::Closed));
        assert!((over.longest_seconds - 150.0).abs() < 0.01, "{over:?}");
        assert_eq!(site.severity, told.severity);
        assert_eq!(site.blame, told.blame);
    }
}

/// That nobody read it is as true after its close, if nobody did to the last.
#[test]
fn what_was_closed_unread_was_surely_never_read() {
    let unread = || conn(1).accepted().recv_q(17);
    let over = |untouched, new| {
        let mut tracker = world([unread()]).tracker();
        let mut ledger = Ledger::default();
        let told = report(&mut ledger, &tracker).sites.remove(0);
        let told = (told.verdict.name(), told.confidence.name());
        assert_eq!(told, ("never-read", "high"));
        tracker.apply(Input::Transition(Transition {
            new,
            untouched,
            ..transition(&unread(), END + S, false)
        }));
        tracker.apply(inventory(END + 2 * S, vec![]));
        report(&mut ledger, &tracker).sites.remove(0)
    };
    let site = over(true, CLOSE);
    assert_eq!(site.confidence.name(), "high");
    let says = "and then closed by the program, unread; seen before that in accept_loop";
    assert!(site.summary.ends_with(says), "{}", site.summary);
    assert_eq!(over(false, CLOSE).confidence.name(), "low");
    // It would have been reset, had not calls that are not watched read it.
    assert_eq!(over(true, LAST_ACK).confidence.name(), "low");
}

#[test]
fn what_ended_before_any_report_told_of_it_is_counted_once_and_for_all() {
    let mut tracker = world([eof(1), eof(2)]).tracker();
    let mut ledger = Ledger::default();
    let mut look = |tracker: &mut Tracker| {
        tracker.apply(Input::Reported);
        report(&mut ledger, tracker)
    };
    tracker.apply(end(&eof(1), END + S, false));
    for at in [END + 2 * S, END + 3 * S, END + 400 * S] {
        tracker.apply(inventory(at, vec![eof(2).item]));
        let report = look(&mut tracker);
        assert_eq!((report.totals.unjudged, report.sites[0].count), (1, 1));
    }
    // What a report has told of is over, and no secret.
    tracker.apply(end(&eof(2), END + 401 * S, false));
    tracker.apply(inventory(END + 402 * S, vec![]));
    let report = look(&mut tracker);
    assert_eq!((report.totals.unjudged, report.sites.len()), (1, 1));
}

#[test]
fn what_was_in_use_or_not_asked_for_is_not_counted_as_gone_unseen() {
    let busy = || conn(1).accepted().used(SocketOperation::Send, END);
    let unjudged = |conn: Conn, pids: &[u32]| {
        let mut world = world([conn]);
        world.run_header.scope.pids = pids.to_vec();
        let ended = end(&world.conns[0], END + S, false);
        let mut tracker = world.tracker();
        tracker.apply(ended);
        tracker.apply(Input::Reported);
        report(&mut Ledger::default(), &tracker).totals.unjudged
    };
    assert_eq!(unjudged(busy(), &[]), 0);
    assert_eq!(unjudged(eof(1), &[]), 1);
    assert_eq!(unjudged(eof(1), &[77]), 0);
}

#[test]
fn what_was_told_before_an_exit_is_said_of_what_the_exit_closed() {
    let mut tracker = world([eof(1)]).with_process(process(SERVER)).tracker();
    let mut ledger = Ledger::default();
    assert_eq!(
        report(&mut ledger, &tracker).sites[0].verdict.name(),
        "eof-ignored"
    );
    tracker.apply(end(&eof(1), END + S, true));
    for at in [END + 2 * S, END + 200 * S, END + 400 * S] {
        tracker.apply(inventory(at, vec![]));
        let report = report(&mut ledger, &tracker);
        assert_eq!(report.sites.len(), 1, "{:#?}", report.sites);
        let site = &report.sites[0];
        assert_eq!((site.verdict.name(), site.count), ("closed-at-exit", 1));
        assert_eq!(site.over.as_ref().unwrap().how, Some(Ended::Exit));
        let was = |line: &String| {
            line.contains("seen as eof-ignored in drain before: then the process exited")
        };
        assert_eq!(
            site.evidence.iter().filter(|line| was(line)).count(),
            1,
            "{:?}",
            site.evidence
        );
    }
}

/// Before its end a run tells nobody of what it has found so far.
#[test]
fn a_run_denies_nothing_when_the_exit_has_got_a_name() {
    let said = |exit_age_ns| {
        let mut world = world([eof(1)]).with_process(process(SERVER));
        world.run_header.exit_age_ns = exit_age_ns;
        let mut tracker = world.tracker();
        let mut ledger = Ledger::default();
        tracker.apply(end(&eof(1), END + S, true));
        tracker.apply(inventory(END + 2 * S, vec![]));
        let blind = |_: &[Frame]| None;
        let style = Style {
            sockets_per_site: 3,
        };
        ledger.report(&tracker, style, &blind).unwrap();
        let site = report(&mut ledger, &tracker).sites.remove(0);
        assert_eq!(site.verdict.name(), "closed-at-exit");
        site.evidence
            .into_iter()
            .find(|line| line.contains("before"))
    };
    assert_eq!(said(Some(0)), None);
    assert_eq!(
        said(None).as_deref(),
        Some("1 connection was seen as closed-at-exit before: more has been seen since")
    );
}

/// In no inventory any more, and no event told of the end: over, and how is not made up.
#[test]
fn what_went_without_a_word_is_over_without_a_how() {
    let mut tracker = world([eof(1)]).tracker();
    let mut ledger = Ledger::default();
    report(&mut ledger, &tracker);
    for at in [END + S, END + 2 * S, END + 3 * S] {
        tracker.apply(inventory(at, vec![]));
        let site = report(&mut ledger, &tracker).sites.remove(0);
        assert_eq!(site.over.unwrap().how, None);
        assert_eq!(site.count, 1);
    }
}

#[test]
fn a_changed_verdict_says_what_it_was() {
    let used = conn(1).accepted().used(SocketOperation::Recv, STUCK - S);
    let mut tracker = world([used]).tracker();
    let mut ledger = Ledger::default();
    assert_eq!(
        report(&mut ledger, &tracker).sites[0].verdict.name(),
        "lost-reference"
    );
    tracker.apply(Input::History {
        cookie: 1,
        history: eof(1).candidate.history,
    });
    tracker.apply(inventory(END + S, vec![eof(1).item]));
    let site = report(&mut ledger, &tracker).sites.remove(0);
    assert_eq!(site.verdict.name(), "eof-ignored");
    let said = "1 connection was seen as lost-reference in handle before: more has been seen since";
    assert!(
        site.evidence.iter().any(|line| line == said),
        "{:?}",
        site.evidence
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Every finding a report told is in the last one, or the last one says what it became.
    #[test]
    fn no_report_denies_an_earlier_one(inputs in inputs(), more in inputs()) {
        let mut tracker = Tracker::default();
        let mut ledger = Ledger::default();
        tracker.apply(Input::RunHeader(Box::new(run_header())));
        let mut told = Vec::new();
        for input in inputs.into_iter().chain(more) {
            tracker.apply(input);
            let first = |frames: &[Frame]| (!frames.is_empty()).then_some(0);
            let style = Style { sockets_per_site: 3 };
            let findings = ledger.report(&tracker, style, &first).unwrap();
            if findings.ask_again_at.is_some() {
                continue;
            }
            let report = findings.report;
            for (id, verdict) in &told {
                let mut sites = report.sites.iter();
                prop_assert!(sites.any(|site| {
                    let said = |line: &String| line.contains(&format!("seen as {verdict}"));
                    site.id == *id || site.evidence.iter().any(said)
                }), "{verdict} {id}");
            }
            for site in &report.sites {
                prop_assert!(site.count > 0);
                if !site.is_undecided(2.0) {
                    told.push((site.id.clone(), site.verdict));
                }
            }
        }
    }
}
