//! Sockets of which nothing tells where they were used: they were there before the tracer, or an idle thread
//! touched them last. A few of them beside many of one finding, on the same port of the same program, are most
//! likely of that finding: they are told with it, and its evidence says so; any number, if it is proven of each that it waits
//! for the same server. So are a few of which nothing is proven
//! beside many of which something is, though nobody is to blame, and a few that the same calls used last, of whose thread
//! no more could be learnt. Many stand for themselves, but for those that the same calls used last and whose stack was cut
//! short before its runtime was known. The sockets of one port go together, each compared with all that the finding has there.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashSet};

use super::{
    Group, SocketView,
    grouping::{Classified, frames_of},
    handed,
    likeness::{End, Likeness, has_place, is_used_alike, waits_alike},
};
use crate::model::{report::Direction, stack::Frame};

/// A finding takes in one for each so many of its own, so that three of four are its own.
const OWN: usize = 3;

/// Moves the members of small groups without a place to the only group that can be theirs.
pub fn join(groups: &mut BTreeMap<String, Vec<Classified<'_>>>) {
    let mut placeless: Vec<String> = Vec::new();
    for (key, members) in groups.iter() {
        // Of a copy that was closed by an exit, nobody who used it is to blame.
        let of_copies = |(_, view): &Classified<'_>| view.has_ended_as_copy();
        if !blames(members) && !members.first().is_some_and(of_copies) {
            placeless.push(key.clone());
        }
    }
    if placeless.is_empty() || groups.len() == 1 {
        return;
    }
    let mut hosts = Hosts::of(groups);
    for key in placeless {
        let likes: Vec<Likeness<'_>> = groups
            .get(&key)
            .into_iter()
            .flatten()
            .map(|member| hosts.likeness(member))
            .collect();
        let mut parts: HashMap<Part<'_>, (usize, HashSet<Likeness<'_>>)> = HashMap::default();
        for like in &likes {
            let (count, alike) = parts.entry(hosts.part(like)).or_default();
            *count += 1;
            alike.insert(*like);
        }
        let homes: HashMap<Part<'_>, String> = parts
            .iter()
            .filter_map(|(part, (count, alike))| Some((*part, hosts.only(&key, *count, alike)?)))
            .collect();
        if homes.is_empty() {
            continue;
        }
        let homes: Vec<Option<String>> = likes
            .iter()
            .map(|like| homes.get(&hosts.part(like)).cloned())
            .collect();
        for (like, home) in likes.iter().zip(&homes) {
            if home.is_some() {
                hosts.leave(&key, like);
            }
        }
        let members = groups.remove(&key).unwrap_or_default();
        for (member, home) in members.into_iter().zip(homes) {
            match home {
                Some(home) => enter(groups.entry(home).or_default(), member),
                None => groups.entry(key.clone()).or_default().push(member),
            }
        }
    }
}

fn enter<'a>(members: &mut Vec<Classified<'a>>, (rule, mut view): Classified<'a>) {
    let verdict = members.first().map(|(rule, _)| rule.verdict());
    if let Some(proof) = &mut view.proof {
        proof.is_of_nothing |= Some(rule.verdict()) != verdict;
    }
    members.push((rule, view));
}

/// Somebody, for any of them. Thousands share a stack.
fn blames(members: &[Classified<'_>]) -> bool {
    let mut known: HashSet<*const Frame> = HashSet::default();
    members.iter().any(|(_, view)| {
        let source = view.proof.as_ref().map(|proof| proof.evidence_source);
        let frames = source.and_then(|source| frames_of(source, view));
        frames.is_some_and(|frames| {
            known.insert(frames.as_ptr()) && view.context.blame(frames).is_some()
        })
    })
}

/// What goes together.
type Part<'a> = (Option<&'a str>, [bool; 3], Option<End>, Option<(bool, u16)>);

/// What others can be told with: members that are alike are one.
#[derive(Default)]
struct Hosts<'a> {
    alike: Vec<Alike<'a>>,
    by_end: HashMap<(&'a str, End), Vec<usize>>,
    by_calls: HashMap<(&'a str, u64), Vec<usize>>,
    known: HashMap<(String, Likeness<'a>), usize>,
}

struct Alike<'a> {
    group: String,
    has_place: bool,
    like: Likeness<'a>,
    count: usize,
}

impl<'a> Hosts<'a> {
    fn of(groups: &BTreeMap<String, Vec<Classified<'a>>>) -> Self {
        let mut all = Self::default();
        for (key, members) in groups {
            let has_place = blames(members);
            let mut counts: HashMap<Likeness<'a>, usize> = HashMap::default();
            for like in members.iter().map(Likeness::of).filter(Likeness::is_host) {
                *counts.entry(like).or_default() += 1;
            }
            for (like, count) in counts {
                all.add(key, has_place, like, count);
            }
        }
        all
    }

    fn add(&mut self, group: &str, has_place: bool, like: Likeness<'a>, count: usize) {
        let at = self.alike.len();
        let program = like.program.unwrap_or_default();
        if let Some(end) = like.end {
            self.by_end.entry((program, end)).or_default().push(at);
        }
        if let Some(stack) = like.stack {
            self.by_calls.entry((program, stack)).or_default().push(at);
        }
        self.known.insert((group.to_owned(), like), at);
        self.alike.push(Alike {
            group: group.to_owned(),
            has_place,
            like,
            count,
        });
    }

    /// Of one which is older than the tracer, so that nothing tells who opened it, the end is as if it were like one of
    /// those here.
    fn likeness(&self, member: &Classified<'a>) -> Likeness<'a> {
        let mut like = Likeness::of(member);
        let (_, view) = member;
        if view.direction().is_none() {
            let endpoints = &view.socket.endpoints();
            let ends = [(false, endpoints.local), (true, endpoints.remote)];
            like.end = ends.into_iter().find(|end| self.has(&like, *end));
        }
        like
    }

    fn has(&self, like: &Likeness<'a>, end: End) -> bool {
        (like.program).is_some_and(|program| self.by_end.contains_key(&(program, end)))
    }

    /// Where nothing was used at the same end, those of one service go together.
    fn part(&self, like: &Likeness<'a>) -> Part<'a> {
        let end = like.end.filter(|end| self.has(like, *end));
        let service = like.service.filter(|_| end.is_none());
        (like.program, like.states, end, service)
    }

    /// The only group in which each of these has enough that may be of the same finding.
    fn only(&self, of: &str, count: usize, few: &HashSet<Likeness<'a>>) -> Option<String> {
        let mut fitting: Option<BTreeMap<&str, (usize, bool)>> = None;
        for other in few {
            let mut here: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
            for own in self
                .beside(other)
                .filter(|own| own.count > 0 && own.group != of)
            {
                if own.like.may_take_in(own.has_place, other) {
                    let (count, is_sure) = here.entry(own.group.as_str()).or_default();
                    *count += own.count;
                    *is_sure |= own.like.is_surely_of(other);
                }
            }
            if let Some(before) = fitting {
                here.retain(|group, (count, is_sure)| {
                    before.get(group).is_some_and(|(least, sure)| {
                        (*count, *is_sure) = ((*count).min(*least), *is_sure && *sure);
                        true
                    })
                });
            }
            fitting = Some(here);
        }
        let mut fitting = fitting?.into_iter();
        let mut enough = fitting
            .by_ref()
            .filter(|(_, (own, is_sure))| *is_sure || *own >= count * OWN);
        match (enough.next(), enough.next()) {
            (Some((only, _)), None) => Some(only.to_owned()),
            _ => None,
        }
    }

    fn beside(&self, other: &Likeness<'a>) -> impl Iterator<Item = &Alike<'a>> {
        let program = other.program.unwrap_or_default();
        let by_end = other.end.and_then(|end| self.by_end.get(&(program, end)));
        let by_calls = (other.stack).and_then(|stack| self.by_calls.get(&(program, stack)));
        let at: BTreeSet<usize> = [by_end, by_calls]
            .into_iter()
            .flatten()
            .flatten()
            .copied()
            .collect();
        at.into_iter().filter_map(|at| self.alike.get(at))
    }

    /// What was moved is no longer its group's own.
    fn leave(&mut self, group: &str, like: &Likeness<'a>) {
        let at = self.known.get(&(group.to_owned(), *like));
        if let Some(alike) = at.and_then(|at| self.alike.get_mut(*at)) {
            alike.count = 0;
        }
    }
}

/// Says of how many members that is so, and by what they belong here.
pub fn evidence(group: &Group<'_>) -> Vec<String> {
    let shared = match group.direction() {
        Some(Direction::Connected) => "server",
        _ => "port",
    };
    let guests: Vec<&SocketView<'_>> = if group.blamed.is_some() {
        let unlike = |view: &&SocketView<'_>| !has_place(view) && !is_in_part(view);
        group.views.iter().filter(unlike).collect()
    } else {
        group
            .views
            .iter()
            .filter(|view| is_unproven(view))
            .collect()
    };
    let telling = telling(group);
    let (asked, others): (Vec<_>, Vec<_>) = guests
        .into_iter()
        .filter(|view| !handed::is_moved(view))
        .partition(|view| telling.is_some_and(|own| waits_alike(own, view)));
    let (alike, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|view| telling.is_some_and(|own| is_used_alike(own, view)));
    let others_lack = if group.blamed.is_some() {
        "tells where they were used"
    } else {
        "proves why they are stuck"
    };
    let count = group.count();
    let say = |of: usize, lack: &str, same: &str| {
        (0 < of && of < count).then(|| format!("of {of} of the {count} nothing {lack}: {same}"))
    };
    [
        say(
            asked.len(),
            "tells which function asked",
            "they wait for the same server as the others",
        ),
        say(
            alike.len(),
            "else is known",
            "the same calls used them last as the others",
        ),
        say(
            others.len(),
            others_lack,
            &if is_one_end(group) {
                format!("the same {shared} and program as the others")
            } else {
                format!("others here have the same {shared} and program")
            },
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// They came in through one port, or go to one server.
fn is_one_end(group: &Group<'_>) -> bool {
    let direction = group.direction();
    let end = |view: &SocketView<'_>| match direction {
        Some(Direction::Connected) => view.socket.endpoints().remote,
        _ => view.socket.endpoints().local,
    };
    let ports: BTreeSet<u16> = group.views.iter().map(|view| end(view).port()).collect();
    ports.len() < 2
}

/// The oldest member that has a place of its own, of those that are as sure as the finding: what that says is proven of it.
pub fn telling<'g, 'a>(group: &'g Group<'a>) -> Option<&'g SocketView<'a>> {
    let is_own = |view: &&SocketView<'_>| has_place(view) && !is_unproven(view);
    let is_sure = |view: &&SocketView<'_>| {
        let proof = view.proof.as_ref();
        proof.is_some_and(|proof| proof.confidence >= group.confidence)
    };
    let sure = group
        .views
        .iter()
        .find(|view| is_own(view) && is_sure(view));
    let own = sure.or_else(|| group.views.iter().find(is_own));
    own.or_else(|| group.views.iter().find(|view| !is_unproven(view)))
        .or_else(|| group.oldest())
}

/// These agree with a stack, which `in_part` tells of.
fn is_in_part(view: &SocketView<'_>) -> bool {
    let source = view.proof.as_ref().map(|proof| proof.evidence_source);
    let stack = view.stack(source.and_then(|source| source.operation(view)));
    stack.is_some_and(|stack| stack.one_of_several)
}

/// By no rule but the last.
fn is_unproven(view: &SocketView<'_>) -> bool {
    let proof = view.proof.as_ref();
    proof.is_some_and(|proof| proof.is_of_nothing)
}
