//! The whole report from the tracker, and what the tracker still lacks for it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Blamer, Case,
    grouping::{Frameset, groups},
    judge,
    scene::Scene,
    siblings,
    site::site,
};
use crate::{
    model::{
        input::{Opening, Process, Scope},
        report::{EventCounts, Report, SchemaId, Totals, Window},
    },
    track::{Socket, Tracker},
};

/// How the report is cut, whatever it says.
#[derive(Clone, Copy)]
pub struct Style {
    pub sockets_per_site: usize,
}

/// What has to be read before the stuck sockets can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    pub stacks: BTreeSet<u64>,
    pub processes: BTreeSet<u32>,
    /// The same, those with most of the sockets first.
    pub busiest: Vec<u32>,
    pub epolls: BTreeSet<u32>,
    /// Threads that touched the sockets: are they still at it?
    pub threads: BTreeSet<u32>,
    /// A process in each of their network namespaces.
    pub namespaces: BTreeMap<u32, u32>,
}

/// `taken_of` tells of which process the stack of a key was taken, as far as it is known.
pub fn demands(
    tracker: &Tracker,
    blamer: Blamer<'_>,
    taken_of: &dyn Fn(u64) -> Option<u32>,
) -> Demands {
    let mut demands = Demands::default();
    let mut opened = BTreeSet::new();
    let mut owned: BTreeMap<u32, usize> = BTreeMap::new();
    let scope = tracker.opening().map(|opening| &opening.scope);
    let asked = |case: &&Case<'_>| scope.is_none_or(|scope| may_be_in(scope, case));
    // What to fetch does not depend on what all cases share.
    let scene = Scene::default();
    let cases = cases(tracker, &scene, blamer);
    for case in cases.iter().filter(|case| case.is_stuck()).filter(asked) {
        let history = case.socket.history;
        let touches = [history.opened, history.used, history.eof];
        for touch in touches.into_iter().flatten() {
            demands.threads.insert(touch.tid);
            if touch.stack != 0 && tracker.stack(touch.stack).is_none() {
                demands.stacks.insert(touch.stack);
            }
        }
        let owners = case.owners();
        // Only history makes the rules ask whether an event loop still watches the socket.
        if case.socket.recv_q > 0 && touches.iter().any(Option::is_some) {
            demands.epolls.extend(owners);
        }
        if let Some(pid) = owners.first() {
            demands.namespaces.entry(case.socket.netns).or_insert(*pid);
        }
        for pid in owners {
            *owned.entry(*pid).or_default() += 1;
        }
        demands.processes.extend(owners);
        opened.extend(history.opened.map(|touch| touch.stack));
    }
    demands.busiest = owned.keys().copied().collect();
    demands
        .busiest
        .sort_by_key(|pid| Reverse(owned.get(pid).copied()));
    let openers = opened.iter().filter_map(|key| taken_of(*key));
    let processes: BTreeSet<u32> = openers.chain(owned.into_keys()).collect();
    let is_theirs = |key| taken_of(key).is_some_and(|pid| processes.contains(&pid));
    let closes = siblings::demands(tracker, &opened, is_theirs).into_iter();
    demands
        .stacks
        .extend(closes.filter(|key| tracker.stack(*key).is_none()));
    demands
}

/// The report, and the moment at which rules that could not prove their case yet should be asked again.
pub struct Findings {
    pub report: Report,
    pub ask_again_at: Option<u64>,
}

/// `None` before the first input.
pub fn report(tracker: &Tracker, style: Style, blamer: Blamer<'_>) -> Option<Findings> {
    let opening = tracker.opening()?;
    let wall = |at: u64| wall(opening, at);
    let set = Frameset {
        watched_from: opening.at,
        live: opening.live,
        now: tracker.now(),
        sockets_per_site: style.sockets_per_site,
    };
    let mut totals = Totals::default();
    let mut judged = Vec::new();
    let mut ask_again_at: Option<u64> = None;
    let scene = Scene::new(tracker, blamer);
    for case in cases(tracker, &scene, blamer) {
        if !in_scope(&case, opening) {
            continue;
        }
        totals.close_wait += u64::from(case.in_close_wait() && !case.has_ended());
        let Some((rule, proof, again)) = judge(&case) else {
            continue;
        };
        ask_again_at = ask_again_at.into_iter().chain(again).min();
        if !case.has_ended() {
            totals.stuck += 1;
            totals.unaccepted += u64::from(case.is_unaccepted());
            totals.hidden += u64::from(case.is_hidden());
        }
        judged.push((rule, proof, case));
    }
    let sites = groups(judged, set)
        .into_iter()
        .filter_map(|(id, group)| site(id, &group, set, wall))
        .collect();
    let mut report = Report {
        schema: SchemaId::V1,
        tool: opening.tool.clone(),
        host: opening.host.clone(),
        hooks: opening.hooks.clone(),
        window: window(tracker, opening, wall(tracker.now())),
        totals,
        sites,
        warnings: warnings(tracker, opening),
    };
    report.sort_sites();
    Some(Findings {
        report,
        ask_again_at,
    })
}

fn cases<'a>(tracker: &'a Tracker, scene: &'a Scene<'a>, blamer: Blamer<'a>) -> Vec<Case<'a>> {
    let min_age = tracker.opening().map_or(0, |opening| opening.min_age_ns);
    let case = |socket: &'a Socket| Case::new(socket, tracker, scene, min_age, blamer);
    let all = tracker.sockets().into_iter().chain(tracker.ended());
    all.map(case).collect()
}

/// Does the user want to see it? A filter that needs an owner leaves out what has none.
fn in_scope(case: &Case<'_>, opening: &Opening) -> bool {
    fits(&opening.scope, case, false)
}

/// The same before its processes were looked at.
fn may_be_in(scope: &Scope, case: &Case<'_>) -> bool {
    fits(scope, case, true)
}

fn fits(scope: &Scope, case: &Case<'_>, unknown_fits: bool) -> bool {
    let ends = &case.socket.ends;
    let ports = scope.ports.is_empty()
        || scope.ports.contains(&ends.local.port())
        || scope.ports.contains(&ends.remote.port());
    let owners = case.owners();
    let any = |fits: &dyn Fn(&Process) -> bool| {
        owners.iter().any(|pid| match case.tracker.process(*pid) {
            Some(process) => fits(process),
            None => unknown_fits,
        })
    };
    let pids = scope.pids.is_empty()
        || owners
            .iter()
            .any(|pid| case.tracker.followed().contains(pid));
    let comm = scope
        .comm
        .as_ref()
        .is_none_or(|wanted| any(&|process| process.comm == *wanted));
    let cgroup = scope.cgroup.as_ref().is_none_or(|wanted| {
        any(&|process| {
            process
                .cgroup
                .as_deref()
                .is_some_and(|own| is_below(own, wanted))
        })
    });
    ports && pids && comm && cgroup
}

fn is_below(cgroup: &str, wanted: &str) -> bool {
    cgroup
        .strip_prefix(wanted.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn window(tracker: &Tracker, opening: &Opening, end: Timestamp) -> Window {
    let counters = tracker.counters();
    let balanced = counters.seen == counters.submitted + counters.lost
        && counters.submitted == counters.received + counters.damaged;
    Window {
        start: opening.wall,
        end,
        events: EventCounts {
            seen: counters.seen + tracker.promoted(),
            submitted: counters.submitted + tracker.promoted(),
            received: counters.received + tracker.promoted(),
            lost: counters.all_lost(),
        },
        complete: tracker.is_complete() && (balanced || !opening.live),
        min_age_seconds: Some(opening.min_age_ns as f64 / 1e9),
    }
}

fn warnings(tracker: &Tracker, opening: &Opening) -> Vec<String> {
    let mut warnings = opening.warnings.clone();
    let counters = tracker.counters();
    let mut say = |count: u64, text: &str| {
        if count > 0 {
            warnings.push(format!("{count} {text}"));
        }
    };
    let repaired = if tracker.is_complete() {
        "; what exists now was checked with the iterators afterwards"
    } else {
        ""
    };
    say(
        counters.lost,
        &format!("events lost because the ring was full{repaired}"),
    );
    say(
        counters.missed,
        &format!("events missed because the kernel skipped a nested run{repaired}"),
    );
    say(counters.damaged, "events could not be decoded");
    say(
        counters.stacks_limited,
        "stacks not copied because a process exceeded its rate",
    );
    say(
        counters.stacks_lost,
        "stacks not copied because the ring was full",
    );
    say(
        counters.defects,
        "times a map of the kernel program had no room: facts are missing",
    );
    say(
        counters.closes_uncounted,
        "healthy sockets were closed without being counted: too many different places",
    );
    say(
        counters.evicted,
        "stacks, processes or files forgotten to stay within the memory bounds",
    );
    say(
        tracker.unfollowed(),
        "sockets not followed because a limit was reached",
    );
    let drift = tracker.drift();
    say(
        drift.unseen,
        "stuck sockets found by the iterators that no event had told of",
    );
    say(drift.vanished, "followed sockets gone without an event");
    warnings.extend(tracker.warnings().iter().cloned());
    warnings
}

fn wall(opening: &Opening, at: u64) -> Timestamp {
    let shift = Duration::from_nanos(at.abs_diff(opening.at));
    let moved = if at >= opening.at {
        opening.wall.checked_add(shift)
    } else {
        opening.wall.checked_sub(shift)
    };
    moved.unwrap_or(opening.wall)
}
