//! From a group to a site of the report.

use std::{cmp::Reverse, collections::BTreeSet};

use jiff::Timestamp;

use super::{
    Group, Proof, SocketView,
    context::waits::Waits,
    explanation, fingerprint, forecast,
    grouping::ReportParameters,
    handed, in_part, listeners, openers, placeless,
    relief::{self, Blockers},
    siblings,
};
use crate::model::{
    cookie::Cookie,
    endpoint::{Endpoint, Peer, Remote},
    input::{Process, Thread},
    report::{self, Blame, Direction, Ended, Family, FdRef, Holder, Over, Site, StackName, Stacks},
    stack::Stack,
    tcp_state::TcpState,
    untrusted::Untrusted,
    verdict::{Confidence, Severity},
};

/// Threads and peers shown per site.
const MAX_HOLDERS: usize = 16;
const MAX_PEERS: usize = 16;

pub fn site(
    id: String,
    group: &Group<'_>,
    set: ReportParameters,
    wall: impl Fn(u64) -> Timestamp,
) -> Option<Site> {
    let oldest = group.oldest()?;
    let proof = placeless::telling(group)?.proof.as_ref()?;
    let mut explanation = group.rule.explain(group, &proof.evidence);
    explanation.evidence.extend(explanation::looks(group));
    let blockers = Blockers::of(group);
    // What may not be the cause is nobody's to end.
    let is_sure = group.confidence > Confidence::Low;
    let relief = oldest.tracker.relief().filter(|_| is_sure);
    if let Some(relief) = blockers.says(relief) {
        explanation.advice = format!("{} {relief}", explanation.advice.trim_end());
    }
    let siblings = siblings::of(group);
    explanation
        .evidence
        .extend(siblings.as_ref().map(|siblings| siblings.evidence(group)));
    explanation.summary.extend(listeners::summary(group));
    explanation.evidence.extend(listeners::evidence(group));
    explanation.summary.extend(openers::summary(group));
    explanation.evidence.extend(openers::evidence(group));
    if let Some(advice) = listeners::advice(group).or_else(|| openers::advice(group)) {
        explanation.advice = format!("{advice} {}", explanation.advice);
    }
    explanation.evidence.extend(in_part::evidence(group));
    explanation.evidence.extend(placeless::evidence(group));
    explanation.evidence.extend(handed::evidence(group));
    let forecast = forecast::of(group);
    explanation.evidence.extend(forecast.map(|forecast| {
        let at = wall(forecast.at).strftime("%F %T UTC");
        forecast.evidence(at)
    }));
    let local = oldest.socket.endpoints().local;
    let same_local = group
        .views
        .iter()
        .all(|view| view.socket.endpoints().local == local);
    let mut peers: Vec<Peer> = Vec::new();
    for view in &group.views {
        let peer = Peer::from(view.socket.endpoints().remote.ip());
        if peers.len() < MAX_PEERS && !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    let (mut stacks, mut truncated_stacks) = stacks(group);
    if let Some(siblings) = &siblings {
        stacks.sibling_close = Some(siblings.stack.frames.clone());
        if siblings.stack.truncated {
            truncated_stacks.push(StackName::SiblingClose);
        }
    }
    Some(Site {
        fingerprint: fingerprint::of(group),
        id,
        verdict: group.rule.verdict(),
        confidence: group.confidence,
        severity: severity(group),
        summary: explanation.summary,
        evidence: explanation.evidence,
        advice: explanation.advice,
        count: group.count() as u64,
        first_seen: wall(oldest.socket.since),
        oldest_seconds: seconds(oldest.age()),
        age_is_lower_bound: oldest.socket.since_is_lower_bound,
        age_seconds_at_most: at_most(oldest),
        growth_per_minute: group.growth_per_minute(),
        process: group.process.map(process),
        processes: group.processes,
        local: same_local.then_some(Endpoint(local)),
        ports: ports(group),
        peers,
        direction: group.direction(),
        blame: group.blamed.map(Blame::from),
        stacks,
        truncated_stacks,
        siblings_closed: siblings.map(|siblings| siblings.closed),
        sockets: group
            .views
            .iter()
            .take(set.sockets_per_site)
            .map(socket)
            .collect(),
        sockets_omitted: group.count().saturating_sub(set.sockets_per_site) as u64,
        over: over(group, &wall),
        upstream: blockers.upstream(set.now),
        pool: relief::pool(group),
        relief: blockers.commands(relief),
        listeners: listeners::told(group),
        runs: None,
    })
}

/// Of sockets that an exit has closed.
fn over(group: &Group<'_>, wall: &impl Fn(u64) -> Timestamp) -> Option<Over> {
    let views = group.views.iter();
    let ends: Option<Vec<u64>> = views.map(|view| view.socket.ended_at()).collect();
    let longest = group.views.iter().map(SocketView::age).max()?;
    Some(Over {
        ended: wall(ends?.into_iter().max()?),
        how: Some(Ended::Exit),
        longest_seconds: seconds(longest),
    })
}

/// What may be younger than the threshold is no more than suspect.
fn severity(group: &Group<'_>) -> Severity {
    let severity = group.rule.severity(group);
    if group.views.iter().all(SocketView::is_undecided) {
        severity.min(Severity::Suspect)
    } else {
        severity
    }
}

/// The same as the age unless the beginning was not seen.
fn at_most(view: &SocketView<'_>) -> Option<f64> {
    view.socket.age_at_most(view.now).map(seconds)
}

/// Of the services on this host, or of those that were connected to.
fn ports(group: &Group<'_>) -> Vec<u16> {
    let port = |view: &SocketView<'_>| {
        let endpoints = &view.socket.endpoints();
        match view.direction() {
            Some(Direction::Connected) => endpoints.remote.port(),
            _ => endpoints.local.port(),
        }
    };
    let ports: BTreeSet<u16> = group.views.iter().map(port).collect();
    ports.into_iter().collect()
}

pub(super) fn process(process: &Process) -> report::Process {
    let untrusted = |text: &String| Untrusted::new(text.clone());
    report::Process {
        pid: process.pid,
        start_time: process.start_wall,
        comm: untrusted(&process.comm),
        exe: process.exe.as_ref().map(untrusted),
        service: process
            .service
            .as_ref()
            .or(Some(&process.comm))
            .map(untrusted),
        cgroup: process.cgroup.as_ref().map(untrusted),
        cmdline: process.cmdline.as_ref().map(untrusted),
    }
}

/// Each kind of stack from the oldest socket that has one, a whole one if possible, else the one that goes furthest.
fn stacks(group: &Group<'_>) -> (Stacks, Vec<StackName>) {
    let mut truncated = Vec::new();
    let mut first = |name: StackName, of: &dyn Fn(&SocketView<'_>) -> Option<Stack>| {
        let all = || group.views.iter().filter_map(of);
        let stack = all()
            .find(|stack| !stack.one_of_several)
            .or_else(|| all().min_by_key(|stack| Reverse(stack.frames.len())))?;
        if stack.truncated {
            truncated.push(name);
        }
        Some(stack.frames)
    };
    let opened = first(StackName::Opened, &|view| {
        view.stack(view.socket.history.opened).cloned()
    });
    let eof = first(StackName::Eof, &|view| {
        view.stack(view.socket.history.eof).cloned()
    });
    let last_used = first(StackName::LastUsed, &|view| {
        view.stack(view.socket.history.last_use()).cloned()
    });
    let taken_out = first(StackName::TakenOut, &|view| {
        view.stack(view.proof.as_ref()?.taken_out()).cloned()
    });
    let stacks = Stacks {
        opened,
        eof,
        last_used,
        taken_out,
        sibling_close: None,
        holders: holders(group),
    };
    (stacks, truncated)
}

fn holders(group: &Group<'_>) -> Vec<Holder> {
    let Some(oldest) = placeless::telling(group) else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = group
        .views
        .iter()
        .flat_map(SocketView::holder_pids)
        .copied()
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let evidence_source = oldest
        .proof
        .as_ref()
        .map(Proof::threads)
        .unwrap_or_default();
    let of = |pid: &u32| {
        let pid = *pid;
        let threads = oldest.tracker.threads(pid).iter();
        let tasks = oldest.tracker.tasks(pid).iter().map(|task| &task.thread);
        let telling = tasks.filter(|task| evidence_source.contains(&task.actor()));
        threads.chain(telling).map(move |thread| (pid, thread))
    };
    let mut threads: Vec<_> = pids.iter().flat_map(of).collect();
    // Those that show the cause come first, then those with a word to say: a Java virtual machine alone has
    // more threads than are shown.
    let in_runtime = |thread: &Thread| oldest.context.blame(&thread.stack).is_none();
    threads.sort_by_cached_key(|(_, thread)| {
        let place = evidence_source
            .iter()
            .position(|actor| *actor == thread.actor());
        let waits = oldest.context.waits.computes(thread).is_none();
        (place.unwrap_or(usize::MAX), waits, in_runtime(thread))
    });
    threads
        .into_iter()
        .take(MAX_HOLDERS)
        .map(|(pid, thread)| Holder {
            pid,
            tid: thread.tid,
            comm: Untrusted::new(thread.comm.clone()),
            state: Some(thread.state),
            syscall: thread.syscall.clone(),
            fd: thread.fd,
            since_seconds: thread
                .since
                .map(|since| seconds(oldest.now.saturating_sub(since))),
            stack: thread.stack.clone(),
            name: thread.name.clone().map(Untrusted::new),
            waits_for: waits_for(&oldest.context.waits, thread),
            samples: samples(thread),
            goroutine: thread.goroutine.map(|goroutine| goroutine.id),
        })
        .collect()
}

fn waits_for(waits: &Waits<'_>, thread: &Thread) -> Option<report::WaitsFor> {
    let other = waits.of(thread);
    let computes = waits.computes(thread);
    Some(report::WaitsFor {
        kind: other.kind()?,
        text: computes.map_or_else(
            || other.words().into_owned(),
            |computes| format!("nothing: it {computes}"),
        ),
    })
}

/// How often it was seen in the calls of its stack; where samples tell none, on a CPU.
fn samples(thread: &Thread) -> Option<u32> {
    let moments = thread.sampled?;
    Some(match moments.inside {
        0 => moments.count,
        inside => inside,
    })
}

fn socket(view: &SocketView<'_>) -> report::Socket {
    let socket = view.socket;
    report::Socket {
        cookie: Cookie(socket.cookie),
        netns: socket.netns,
        inode: (socket.inode != 0).then_some(socket.inode),
        family: if socket.endpoints().local.is_ipv4() {
            Family::Inet
        } else {
            Family::Inet6
        },
        local: Endpoint(socket.endpoints().local),
        remote: Remote::from(socket.endpoints().remote),
        state: TcpState::from_u8(socket.state),
        age_seconds: seconds(view.age()),
        age_is_lower_bound: socket.since_is_lower_bound,
        age_seconds_at_most: at_most(view),
        recv_q: Some(u64::from(socket.recv_q)),
        send_q: Some(u64::from(socket.send_q)),
        fds: socket
            .holders
            .iter()
            .map(|holder| FdRef {
                pid: holder.pid,
                fd: holder.fd as i32,
            })
            .collect(),
    }
}

/// Milliseconds are as exact as anyone needs to read.
fn seconds(ns: u64) -> f64 {
    (ns / 1_000_000) as f64 / 1000.0
}
