//! Evidence that is taken only while something is stuck (`--evidence leaking`): what nobody watched is not held
//! against anybody.

use std::collections::BTreeMap;

use super::world::{END, MIN_AGE, S, SERVER, STUCK, World, conn, world};
use crate::model::{
    input::{Evidence, Input},
    report::{Hook, HookStatus, Report},
    socket::SocketOperation,
};

fn watched(world: World, from: Option<u64>) -> World {
    let processes = from.map(|from| (SERVER, from)).into_iter();
    world.with(Input::Evidence(Evidence {
        attached: from,
        processes: processes.collect::<BTreeMap<_, _>>(),
        unable: false,
    }))
}

#[test]
fn a_socket_counts_as_stuck_once_its_process_was_watched_for_the_threshold() {
    let stuck = |from| {
        let world = watched(world([conn(1).eof()]), from);
        world.report().totals.stuck
    };
    assert_eq!(stuck(None), 0);
    assert_eq!(stuck(Some(END - MIN_AGE + 1)), 0);
    assert_eq!(stuck(Some(END - MIN_AGE)), 1);
}

/// The worst answer would be none at all.
#[test]
fn what_cannot_be_watched_is_told_without_it() {
    let world = world([conn(1).accepted().recv_q(100)]).with(Input::Evidence(Evidence {
        unable: true,
        ..Evidence::default()
    }));
    let verdict = world.verdict();
    assert!(!verdict.starts_with("never-read"), "{verdict}");
}

/// Where nobody has accepted, nobody can use it either.
#[test]
fn what_nobody_has_accepted_needs_no_watching() {
    let world = world([conn(1).unaccepted()]).with_listener("10.0.0.1:80", &[SERVER], 1);
    assert_eq!(watched(world, None).report().totals.stuck, 1);
}

#[test]
fn who_was_not_watched_may_have_read() {
    let verdict = |from| watched(world([conn(1).accepted().recv_q(100)]), Some(from)).verdict();
    let always = world([conn(1).accepted().recv_q(100)]).verdict();
    assert!(always.starts_with("never-read"), "{always}");
    assert_eq!(verdict(0), always);
    let late = verdict(STUCK + S);
    assert!(!late.starts_with("never-read"), "{late}");
}

#[test]
fn a_connection_that_still_sends_is_silent_while_it_is_watched() {
    let sends = conn(1).accepted().used(SocketOperation::Send, END - S);
    let world = watched(world([sends]), Some(0));
    assert_eq!(world.report().totals.stuck, 0);
}

fn with_a_hook_on_standby(from: Option<u64>, reason: &str) -> Report {
    let mut world = watched(world([conn(1).eof()]), from);
    world.run_header.hooks = vec![Hook {
        name: "sock_recv_length".to_owned(),
        kind: "tp_btf".to_owned(),
        status: HookStatus::Standby,
        reason: Some(reason.to_owned()),
    }];
    world.report()
}

#[test]
fn the_report_says_what_is_watched_and_since_when() {
    let report = with_a_hook_on_standby(None, Hook::ON_DEMAND);
    assert_eq!(report.hooks[0].status, HookStatus::Standby);
    assert!(report.warnings.is_empty(), "{:?}", report.warnings);
    let report = with_a_hook_on_standby(Some(END - MIN_AGE), Hook::ON_DEMAND);
    assert_eq!(report.hooks[0].status, HookStatus::Attached);
    assert_eq!(report.hooks[0].reason, None);
    let warning = &report.warnings[0];
    assert!(
        warning.contains("of 1 process (--evidence leaking)"),
        "{warning}"
    );
    let slow = format!("{}; slow", Hook::ON_DEMAND);
    let report = with_a_hook_on_standby(Some(0), &slow);
    assert_eq!(report.hooks[0].status, HookStatus::Degraded);
    assert_eq!(report.hooks[0].reason.as_deref(), Some("slow"));
}
