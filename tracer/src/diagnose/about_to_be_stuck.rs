//! Open connections that are likely to get stuck: nothing is read from them and their peer's FIN cannot get in,
//! or their peer does not answer any more. No finding: nobody has failed to close anything yet.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    report::{Style, is_below},
    site,
};
use crate::{
    model::{
        cookie::Cookie,
        endpoint::{Endpoint, Remote},
        input::{Process, RunHeader, Scope},
        quantity::{age, agree, counted},
        report::{AboutToBeStuck, Danger, EndangeredSocket},
    },
    track::{InDanger, Tracker},
};

/// Entries of one report.
const MAX_ENTRIES: usize = 100;

pub fn all(tracker: &Tracker, run_header: &RunHeader, style: Style) -> Vec<AboutToBeStuck> {
    let mut groups: BTreeMap<(Danger, Option<u32>), Vec<&InDanger>> = BTreeMap::new();
    let told = tracker
        .in_danger()
        .filter(|socket| is_told(socket, run_header))
        .filter(|socket| is_in(&run_header.scope, tracker, socket));
    for socket in told {
        let pid = socket.holders.first().copied();
        groups.entry((socket.danger, pid)).or_default().push(socket);
    }
    let mut entries: Vec<AboutToBeStuck> = groups
        .into_iter()
        .map(|((danger, pid), sockets)| {
            let process = pid.and_then(|pid| tracker.endangered_process(pid));
            entry(danger, process, sockets, style)
        })
        .collect();
    entries.sort_by_key(|entry| Reverse(entry.count));
    entries.truncate(MAX_ENTRIES);
    entries
}

/// A peer has left two probes or more unanswered, whenever that began. A closed window counts once it was seen
/// closed, with nothing read, for the threshold; where nothing is followed, once nothing came in for so long, and
/// nothing was read from one look to the next.
fn is_told(socket: &InDanger, run_header: &RunHeader) -> bool {
    let watched = socket.until.saturating_sub(socket.since);
    let closed_for = last_data(socket).unwrap_or(0);
    match socket.danger {
        Danger::PeerSilent => true,
        Danger::WindowClosed if run_header.live => watched >= run_header.min_age_ns,
        Danger::WindowClosed => watched > 0 && closed_for >= run_header.min_age_ns,
    }
}

/// How long before the last look.
fn last_data(socket: &InDanger) -> Option<u64> {
    let at = socket.connection.tcp?.received_at?;
    Some(socket.until.saturating_sub(at))
}

fn is_in(scope: &Scope, tracker: &Tracker, socket: &InDanger) -> bool {
    let endpoints = &socket.connection.endpoints;
    let ports = [endpoints.local.port(), endpoints.remote.port()];
    let any = |fits: &dyn Fn(&Process) -> bool| {
        let mut processes = socket.holders.iter();
        processes.any(|pid| tracker.endangered_process(*pid).is_some_and(fits))
    };
    let mut holders = socket.holders.iter();
    (scope.ports.is_empty() || ports.iter().any(|port| scope.ports.contains(port)))
        && (scope.pids.is_empty() || holders.any(|pid| tracker.followed().contains(pid)))
        && (scope.comm.as_ref()).is_none_or(|comm| any(&|process| process.comm == *comm))
        && (scope.cgroup.as_ref()).is_none_or(|wanted| {
            any(&|process| (process.cgroup.as_deref()).is_some_and(|own| is_below(own, wanted)))
        })
}

fn entry(
    danger: Danger,
    process: Option<&Process>,
    mut sockets: Vec<&InDanger>,
    style: Style,
) -> AboutToBeStuck {
    sockets.sort_by_key(|socket| (socket.since, socket.connection.cookie));
    let count = sockets.len() as u64;
    let shown: Vec<EndangeredSocket> = sockets
        .iter()
        .take(style.sockets_per_site)
        .map(|socket| shown(socket))
        .collect();
    AboutToBeStuck {
        danger,
        summary: summary(danger, &sockets),
        count,
        process: process.map(site::process),
        sockets_omitted: count - shown.len() as u64,
        sockets: shown,
    }
}

fn summary(danger: Danger, sockets: &[&InDanger]) -> String {
    let count = sockets.len() as u64;
    let connections = counted(count, "open connection");
    match danger {
        Danger::WindowClosed => {
            let bytes: u64 = sockets
                .iter()
                .map(|socket| u64::from(socket.connection.recv_q))
                .sum();
            let shortest = sockets
                .iter()
                .map(|socket| socket.until.saturating_sub(socket.since))
                .min();
            let latest = sockets.iter().filter_map(|socket| last_data(socket)).min();
            format!(
                "{connections} {} not read while watched ({}) and {} no room left ({} unread, receive window 0; data \
                 came {} ago or earlier): more data of the peer, and a FIN behind it, cannot get in",
                agree(count, "was", "were"),
                age(shortest.unwrap_or(0) as f64 / 1e9),
                agree(count, "has", "have"),
                counted(bytes, "byte"),
                age(latest.unwrap_or(0) as f64 / 1e9),
            )
        }
        Danger::PeerSilent => {
            let probes = sockets.iter().filter_map(|socket| socket.connection.tcp);
            let fewest = probes.map(|tcp| tcp.probes).min().unwrap_or(0);
            format!(
                "{connections} {} a peer that has left {fewest} or more keepalive probes in a row unanswered",
                agree(count, "has", "have"),
            )
        }
    }
}

fn shown(socket: &InDanger) -> EndangeredSocket {
    let connection = &socket.connection;
    EndangeredSocket {
        cookie: Cookie(connection.cookie),
        netns: connection.netns,
        local: Endpoint(connection.endpoints.local),
        remote: Remote::from(connection.endpoints.remote),
        watched_seconds: socket.until.saturating_sub(socket.since) as f64 / 1e9,
        last_data_seconds: last_data(socket).map(|ago| ago as f64 / 1e9),
        recv_q: u64::from(connection.recv_q),
        probes: connection.tcp.map_or(0, |tcp| u32::from(tcp.probes)),
    }
}
