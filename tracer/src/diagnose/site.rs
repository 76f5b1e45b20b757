//! From judged sockets to groups, and from a group to a site of the report.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Case, Group, Proof, Rule, Telling, forecast, group::Accused, siblings};
use crate::model::{
    cookie::Cookie,
    endpoint::{Endpoint, Peer, Remote},
    input::{Process, Thread},
    report::{self, Blame, Family, FdRef, Holder, Site, StackName, Stacks},
    stack::{Frame, Stack},
    tcp_state::TcpState,
    untrusted::Untrusted,
    verdict::Verdict,
};

/// Threads and peers shown per site.
const MAX_HOLDERS: usize = 16;
const MAX_PEERS: usize = 16;

/// What the groups of one report share.
#[derive(Clone, Copy)]
pub struct Frameset {
    pub watched_from: u64,
    pub live: bool,
    pub now: u64,
    pub sockets_per_site: usize,
}

type Judged<'a> = (&'static dyn Rule, Proof, Case<'a>);

/// Exact groups: executable, verdict, and the blamed place (or what stands for it without a stack).
pub fn groups(judged: Vec<Judged<'_>>, set: Frameset) -> Vec<(String, Group<'_>)> {
    let mut members: BTreeMap<String, Vec<Judged<'_>>> = BTreeMap::new();
    // Thousands of sockets share a place, and finding its key costs more than all else.
    let mut shared: HashMap<Place, (String, Vec<Judged<'_>>)> = HashMap::new();
    for (rule, proof, case) in judged {
        let place = Place::of(rule, proof.telling, &case);
        let (_, same) = shared
            .entry(place)
            .or_insert_with(|| (key(rule, proof.telling, &case), Vec::new()));
        same.push((rule, proof, case));
    }
    for (key, same) in shared.into_values() {
        members.entry(key).or_default().extend(same);
    }
    let mut groups: Vec<(String, Group<'_>)> = members
        .into_iter()
        .filter_map(|(key, members)| Some((digest(&key), group(members, set)?)))
        .collect();
    accuse(&mut groups);
    groups
}

/// Victims point at the group of their process that has most sockets.
fn accuse(groups: &mut [(String, Group<'_>)]) {
    let mut most: HashMap<u32, Accused<'_>> = HashMap::new();
    for (_, group) in groups
        .iter()
        .filter(|(_, group)| group.telling != Telling::Accused)
    {
        let accused = Accused {
            verdict: group.rule.verdict(),
            count: group.count(),
            blamed: group.blamed,
        };
        if let Some(process) = group.process {
            let known = most.entry(process.pid).or_insert(accused);
            if known.count < accused.count {
                *known = accused;
            }
        }
    }
    for (_, group) in groups
        .iter_mut()
        .filter(|(_, group)| group.telling == Telling::Accused)
    {
        group.accused = group
            .process
            .and_then(|process| most.get(&process.pid).copied());
        group.blamed = group.accused.and_then(|accused| accused.blamed);
    }
}

/// All that a socket's key is made of; sockets that agree in it have the same key.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    verdict: Verdict,
    telling: Telling,
    process: Option<u32>,
    stack: u64,
    thread: Option<u32>,
    /// Where there is no stack.
    end: Option<(Option<report::Direction>, SocketAddr)>,
}

impl Place {
    fn of(rule: &dyn Rule, telling: Telling, case: &Case<'_>) -> Self {
        let ends = &case.socket.ends;
        let end = || match case.direction() {
            Some(report::Direction::Connected) => (Some(report::Direction::Connected), ends.remote),
            direction => (direction, ends.local),
        };
        let stack = telling.touch(case).map_or(0, |touch| touch.stack);
        Self {
            verdict: rule.verdict(),
            telling,
            process: case.owners().first().copied(),
            stack,
            thread: thread_of(telling, case).map(|thread| thread.tid),
            end: frames_of(telling, case).is_none().then(end),
        }
    }
}

fn group<'a>(members: Vec<Judged<'a>>, set: Frameset) -> Option<Group<'a>> {
    let (rule, proof, _) = members.first()?;
    let (rule, telling) = (*rule, proof.telling);
    let confidence = members.iter().map(|(_, proof, _)| proof.confidence).min()?;
    let mut cases: Vec<Case<'a>> = members.into_iter().map(|(_, _, case)| case).collect();
    cases.sort_by_key(|case| (case.socket.since, case.socket.cookie));
    let mut owned: BTreeMap<u32, usize> = BTreeMap::new();
    for pid in cases.iter().flat_map(Case::owners).copied() {
        *owned.entry(pid).or_default() += 1;
    }
    let most = owned
        .iter()
        .max_by_key(|(pid, count)| (**count, std::cmp::Reverse(**pid)));
    let tracker = cases.first()?.tracker;
    let process = most.and_then(|(pid, _)| tracker.process(*pid));
    let frames = cases.iter().find_map(|case| frames_of(telling, case));
    let blamed = frames.and_then(|frames| frames.get((cases.first()?.blamer)(frames)?));
    Some(Group {
        rule,
        telling,
        confidence,
        cases,
        process,
        processes: owned.len() as u32,
        frames,
        blamed,
        accused: None,
        watched_from: set.watched_from,
        live: set.live,
        now: set.now,
    })
}

fn frames_of<'a>(telling: Telling, case: &Case<'a>) -> Option<&'a [Frame]> {
    let frames = match thread_of(telling, case) {
        Some(thread) => &thread.stack,
        None => &case.stack(telling.touch(case))?.frames,
    };
    (!frames.is_empty()).then_some(frames.as_slice())
}

/// The thread that shows the cause, where it is what a thread does now.
fn thread_of<'a>(telling: Telling, case: &Case<'a>) -> Option<&'a Thread> {
    match telling {
        Telling::Holders => case.acceptor(),
        Telling::Pool => case.starving_pool()?.1.blocked.first().copied(),
        Telling::Owner => Some(case.owner()?.thread),
        _ => None,
    }
}

/// Contains build-ids and offsets, never addresses, so that it is the same after a restart.
fn key(rule: &dyn Rule, telling: Telling, case: &Case<'_>) -> String {
    let program = match case.process() {
        Some(process) => process.exe.as_deref().unwrap_or(&process.comm),
        None => "",
    };
    let place = if let Some(frames) = frames_of(telling, case) {
        match (case.blamer)(frames).and_then(|index| frames.get(index)) {
            Some(blamed) => identity(blamed),
            None => frames.iter().map(identity).collect::<Vec<_>>().join(" "),
        }
    } else {
        let ends = &case.socket.ends;
        match case.direction() {
            Some(report::Direction::Connected) => {
                format!("to {}", Endpoint(ends.remote))
            }
            Some(_) => format!("port {}", ends.local.port()),
            None => "no history".to_owned(),
        }
    };
    format!("{}|{program}|{telling:?}|{place}", rule.verdict().name())
}

fn identity(frame: &Frame) -> String {
    let module = frame.module.as_deref().unwrap_or("?");
    let Some(build) = frame.build_id.as_deref() else {
        // Code made at run time lies elsewhere in the next run, but its names stay.
        if module.starts_with('[') {
            let named = [frame.function.as_deref(), frame.file.as_deref()];
            return format!("{module}{named:?}");
        }
        return format!("{module}+{:x}", frame.offset);
    };
    format!("{build}+{:x}", frame.offset)
}

fn digest(key: &str) -> String {
    format!("{:.16x}", Sha256::digest(key.as_bytes()))
}

pub fn site(
    id: String,
    group: &Group<'_>,
    set: Frameset,
    wall: impl Fn(u64) -> Timestamp,
) -> Option<Site> {
    let oldest = group.oldest()?;
    let mut words = group.rule.explain(group);
    let siblings = siblings::of(group);
    words
        .evidence
        .extend(siblings.as_ref().map(|siblings| siblings.evidence(group)));
    let forecast = forecast::of(group);
    words.evidence.extend(forecast.map(|forecast| {
        let at = wall(forecast.at).strftime("%F %T UTC");
        forecast.evidence(at)
    }));
    let local = oldest.socket.ends.local;
    let same_local = group
        .cases
        .iter()
        .all(|case| case.socket.ends.local == local);
    let mut peers: Vec<Peer> = Vec::new();
    for case in &group.cases {
        let peer = Peer::from(case.socket.ends.remote.ip());
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
        id,
        verdict: group.rule.verdict(),
        confidence: group.confidence,
        severity: group.rule.severity(group),
        summary: words.summary,
        evidence: words.evidence,
        advice: words.advice,
        count: group.count() as u64,
        first_seen: wall(oldest.socket.since),
        oldest_seconds: seconds(oldest.age()),
        age_is_lower_bound: oldest.socket.since_is_lower_bound,
        growth_per_minute: group.growth_per_minute(),
        process: group.process.map(process),
        processes: group.processes,
        local: same_local.then_some(Endpoint(local)),
        peers,
        direction: group.direction(),
        blame: group.blamed.map(Blame::from),
        stacks,
        truncated_stacks,
        siblings_closed: siblings.map(|siblings| siblings.closed),
        sockets: group
            .cases
            .iter()
            .take(set.sockets_per_site)
            .map(socket)
            .collect(),
        sockets_omitted: group.count().saturating_sub(set.sockets_per_site) as u64,
    })
}

fn process(process: &Process) -> report::Process {
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

/// Each kind of stack from the oldest socket that has one.
fn stacks(group: &Group<'_>) -> (Stacks, Vec<StackName>) {
    let mut truncated = Vec::new();
    let mut first = |name: StackName, of: &dyn Fn(&Case<'_>) -> Option<Stack>| {
        let stack = group.cases.iter().find_map(of)?;
        if stack.truncated {
            truncated.push(name);
        }
        Some(stack.frames)
    };
    let opened = first(StackName::Opened, &|case| {
        case.stack(case.socket.history.opened).cloned()
    });
    let eof = first(StackName::Eof, &|case| {
        case.stack(case.socket.history.eof).cloned()
    });
    let last_used = first(StackName::LastUsed, &|case| {
        case.stack(case.socket.history.used).cloned()
    });
    let stacks = Stacks {
        opened,
        eof,
        last_used,
        sibling_close: None,
        holders: holders(group),
    };
    (stacks, truncated)
}

fn holders(group: &Group<'_>) -> Vec<Holder> {
    let Some(oldest) = group.oldest() else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = group.cases.iter().flat_map(Case::owners).copied().collect();
    pids.sort_unstable();
    pids.dedup();
    let telling: Vec<u32> = match group.telling {
        Telling::Pool => oldest.starving_pool().map_or_else(Vec::new, |(_, pool)| {
            pool.blocked.iter().map(|thread| thread.tid).collect()
        }),
        telling => thread_of(telling, oldest)
            .iter()
            .map(|thread| thread.tid)
            .collect(),
    };
    let of = |pid: &u32| {
        let pid = *pid;
        let threads = oldest.tracker.threads(pid).iter();
        threads.map(move |thread| (pid, thread))
    };
    let mut threads: Vec<_> = pids.iter().flat_map(of).collect();
    // Those that show the cause come first.
    threads.sort_by_key(|(_, thread)| {
        telling
            .iter()
            .position(|tid| *tid == thread.tid)
            .unwrap_or(usize::MAX)
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
        })
        .collect()
}

fn socket(case: &Case<'_>) -> report::Socket {
    let socket = case.socket;
    report::Socket {
        cookie: Cookie(socket.cookie),
        netns: socket.netns,
        inode: (socket.inode != 0).then_some(socket.inode),
        family: if socket.ends.local.is_ipv4() {
            Family::Inet
        } else {
            Family::Inet6
        },
        local: Endpoint(socket.ends.local),
        remote: Remote::from(socket.ends.remote),
        state: TcpState::from_u8(socket.state),
        age_seconds: seconds(case.age()),
        age_is_lower_bound: socket.since_is_lower_bound,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_made_at_run_time_is_the_same_wherever_it_lies() {
        let made = |function: Option<&str>, offset| Frame {
            module: Some("[jit]".to_owned()),
            function: function.map(str::to_owned),
            offset,
            ..Frame::default()
        };
        let named = identity(&made(Some("handle"), 0x7000));
        assert_eq!(named, identity(&made(Some("handle"), 0x8000)));
        assert_ne!(named, identity(&made(Some("other"), 0x7000)));
        assert_eq!(identity(&made(None, 1)), identity(&made(None, 2)));
        let file = |offset| Frame {
            module: Some("app".to_owned()),
            function: Some("handle".to_owned()),
            offset,
            ..Frame::default()
        };
        assert_ne!(identity(&file(0x7000)), identity(&file(0x8000)));
    }
}
