//! From judged sockets to groups: exact, and with ids that are the same after a restart.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use sha2::{Digest, Sha256};

use super::{Case, Group, Proof, Rule, Telling, group::Accused};
use crate::model::{
    endpoint::Endpoint, input::Thread, report::Direction, stack::Frame, verdict::Verdict,
};

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
    /// Part of the key where nobody is blamed.
    end: (Option<Direction>, SocketAddr),
}

impl Place {
    fn of(rule: &dyn Rule, telling: Telling, case: &Case<'_>) -> Self {
        let ends = &case.socket.ends;
        let end = match case.direction() {
            Some(Direction::Connected) => (Some(Direction::Connected), ends.remote),
            direction => (direction, ends.local),
        };
        let stack = telling.touch(case).map_or(0, |touch| touch.stack);
        Self {
            verdict: rule.verdict(),
            telling,
            process: case.owners().first().copied(),
            stack,
            thread: thread_of(telling, case).map(|thread| thread.tid),
            end,
        }
    }
}

fn group<'a>(members: Vec<Judged<'a>>, set: Frameset) -> Option<Group<'a>> {
    let (rule, proof, _) = members.first()?;
    let (rule, telling) = (*rule, proof.telling);
    let confidence = members.iter().map(|(_, proof, _)| proof.confidence).min()?;
    let mut cases: Vec<Case<'a>> = members.into_iter().map(|(_, _, case)| case).collect();
    cases.sort_by_key(|case| (Reverse(case.age()), case.socket.cookie));
    let mut owned: BTreeMap<u32, usize> = BTreeMap::new();
    for pid in cases.iter().flat_map(Case::owners).copied() {
        *owned.entry(pid).or_default() += 1;
    }
    let most = owned
        .iter()
        .max_by_key(|(pid, count)| (**count, Reverse(**pid)));
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
        Some(thread) if !thread.stack.is_empty() => &thread.stack,
        _ => &case.stack(telling.touch(case))?.frames,
    };
    (!frames.is_empty()).then_some(frames.as_slice())
}

/// The thread that shows the cause, where it is what a thread does now.
pub fn thread_of<'a>(telling: Telling, case: &Case<'a>) -> Option<&'a Thread> {
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
    let frames = frames_of(telling, case).unwrap_or_default();
    let place = if let Some(blamed) = (case.blamer)(frames).and_then(|index| frames.get(index)) {
        identity(blamed)
    } else {
        // Without a place of its own, all programs of one runtime would be alike: the port tells them apart.
        let ends = &case.socket.ends;
        let end = match case.direction() {
            Some(Direction::Connected) => format!("to {}", Endpoint(ends.remote)),
            Some(_) => format!("port {}", ends.local.port()),
            None => "no history".to_owned(),
        };
        let frames = frames.iter().map(identity).collect::<Vec<_>>();
        format!("{} {end}", frames.join(" "))
    };
    let source = telling.id();
    format!("{}|{program}|{source}|{place}", rule.verdict().name())
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
