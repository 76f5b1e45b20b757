//! The rigs do what they claim, judged by `ss` and /proc alone: no tracer is involved.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;
use tests::manifest::{Entry, Holder, State};
use tests::rig::Rig;
use tests::{manifest, process, side_by_side, skip, ss, wait};

const AT_A_TIME: usize = 2;

#[test]
fn every_rig_gets_stuck_where_its_manifest_says() {
    let entries = runnable("every_rig_gets_stuck_where_its_manifest_says");
    side_by_side::each(entries, AT_A_TIME, |entry| {
        let rig = Rig::leaking(&entry);
        seen_by_ss(&rig);
        held_by_whom_it_should(&rig);
        as_its_verdict_says(&rig);
    });
}

#[test]
fn every_healthy_twin_leaves_nothing() {
    let entries = runnable("every_healthy_twin_leaves_nothing");
    side_by_side::each(entries, AT_A_TIME, |entry| {
        let rig = Rig::healthy(&entry);
        let clean = || ss::close_wait(rig.port).is_empty() && client_sockets(&rig, rig.pid()) == 0;
        wait::wait_for(
            &format!("{}: nothing left", entry.name),
            Duration::from_secs(2),
            clean,
        );
    });
}

/// The rigs this machine has all parts of; for each of the others, `test` is on record as skipped.
/// `SOCKLEAK_RIGS` narrows them to those whose names contain it: for the author of one.
fn runnable(test: &str) -> Vec<Entry> {
    if !skip::require_program(test, "ss") {
        return Vec::new();
    }
    let wanted = std::env::var("SOCKLEAK_RIGS").unwrap_or_default();
    let rigs = manifest::load().rigs.into_iter();
    rigs.filter(|entry| entry.name.contains(&wanted) && skip::require_needs(test, entry))
        .collect()
}

/// Both ends of every stuck socket, and nothing else; state CLOSE is what ss cannot see.
fn seen_by_ss(rig: &Rig) {
    let Entry {
        name,
        state,
        count,
        direction,
        ..
    } = &rig.entry;
    let seen = ss::close_wait(rig.port);
    if *state == State::Close {
        assert!(seen.is_empty(), "{name}: {seen:?}");
    } else if direction == "connected" {
        assert_eq!(ss::close_wait_to(rig.port).len(), *count, "{name}");
    } else {
        let server = rig.address().to_string();
        let wanted = rig
            .clients
            .iter()
            .map(|client| (server.clone(), client.to_string()));
        assert_eq!(seen, wanted.collect::<BTreeSet<_>>(), "{name}");
    }
}

fn held_by_whom_it_should(rig: &Rig) {
    let Entry {
        name,
        count,
        holder,
        ..
    } = &rig.entry;
    let (own, helper) = match holder {
        Holder::Rig => (count + rig.entry.pins, None),
        Holder::Helper => (0, Some(rig.helper())),
        Holder::None => (0, None),
    };
    assert_eq!(
        client_sockets(rig, rig.pid()),
        own + rig.entry.also_stuck() + rig.to_upstream(),
        "{name}: its own descriptors"
    );
    if let Some(helper) = helper {
        assert_eq!(
            client_sockets(rig, helper),
            *count,
            "{name}: the helper's descriptors"
        );
    }
}

/// What its verdict is about, as far as it can be seen from outside.
fn as_its_verdict_says(rig: &Rig) {
    let Entry {
        name,
        count,
        verdicts,
        ..
    } = &rig.entry;
    let unread = ss::unread(rig.port);
    let with = |sizes: RangeInclusive<u64>| unread.iter().filter(|q| sizes.contains(q)).count();
    let (nothing, fin, data) = (0..=0, 1..=1, 2..=u64::MAX);
    let sizes = match verdicts[0].as_str() {
        "eof-ignored" | "half-close-not-forwarded" => nothing,
        "never-read" | "never-accepted" | "fd-limit" | "select-limit" | "reading-paused"
        | "worker-starvation" => data,
        "process-stopped" | "gc-dependent" => fin,
        "event-lost" => 1..=u64::MAX,
        "hidden-closed" => return,
        _ => 0..=u64::MAX,
    };
    assert_eq!(with(sizes), *count, "{name}: Recv-Q {unread:?}");
    let pid = rig.pid();
    let unsent = || ss::unsent_to(rig.upstream_port().expect("a service behind a proxy"));
    match verdicts[0].as_str() {
        "half-close-not-forwarded" => assert_eq!(unsent(), vec![0; *count], "{name}: its partners"),
        "reading-paused" => {
            let unsent = unsent();
            let all = unsent.len() == *count && unsent.iter().all(|bytes| *bytes > 0);
            assert!(all, "{name}: its partners' Send-Q {unsent:?}");
        }
        "process-stopped" => {
            let states = process::states(pid);
            assert!(
                states.iter().all(|state| *state == 'T'),
                "{name}: {states:?}"
            );
        }
        "owner-blocked" if rig.entry.args.iter().any(|arg| arg == "cpu") => {
            // A runtime's own threads, such as a compiler, run for a moment as well.
            let busy = || {
                process::states(pid)
                    .into_iter()
                    .filter(|state| *state == 'R')
            };
            wait::wait_for(
                &format!("{name}: {count} threads that compute"),
                Duration::from_secs(5),
                || busy().count() == *count,
            );
        }
        "fd-limit" => {
            let open = process::descriptors(pid).len() as u64;
            assert_eq!(
                open,
                process::most_descriptors(pid),
                "{name}: its descriptors"
            );
        }
        "select-limit" => {
            let beyond = process::sockets(pid).into_keys().filter(|fd| *fd >= 1024);
            assert_eq!(beyond.count(), *count, "{name}: descriptors out of reach");
        }
        _ => {}
    }
}

/// Descriptors of `pid` that are TCP sockets other than a listener.
fn client_sockets(rig: &Rig, pid: u32) -> usize {
    let unix = ss::unix_inodes();
    let listener = ss::listener_inode(rig.port);
    let sockets = process::sockets(pid);
    let other = |inode: &&u64| !unix.contains(*inode) && Some(**inode) != listener;
    sockets.values().filter(other).count()
}
