//! From judged sockets to groups: exact, and with ids that are the same after a restart.

use std::{cmp::Reverse, collections::BTreeMap, net::SocketAddr};

use foldhash::HashMap;

use sha2::{Digest, Sha256};

use super::{
    EvidenceSource, Group, Proof, Rule, SocketView, group::Accused, handed, in_part, listeners,
    one_function, placeless,
};
use crate::model::{
    actor::Actor,
    endpoint::Endpoint,
    input::Thread,
    report::Direction,
    stack::Frame,
    verdict::{Confidence, Verdict},
};

/// What the groups of one report share.
#[derive(Clone, Copy)]
pub struct ReportParameters {
    pub watched_from: u64,
    pub live: bool,
    pub now: u64,
    pub sockets_per_site: usize,
}

/// Stacks of one group looked through for one that blames somebody.
const MAX_SEARCHED: usize = 256;

/// A view has the proof that its rule gave. Boxed: very many go from hand to hand.
pub type Classified<'a> = (&'static dyn Rule, Box<SocketView<'a>>);

/// Exact groups: executable, verdict, and the blamed place (or what stands for it without a stack).
pub fn groups(classified: Vec<Classified<'_>>, set: ReportParameters) -> Vec<(String, Group<'_>)> {
    let mut members: BTreeMap<String, Vec<Classified<'_>>> = BTreeMap::new();
    // Thousands of sockets share a place, and finding what is blamed costs more than all else.
    let mut shared: HashMap<Place, (Option<String>, Vec<Classified<'_>>)> = HashMap::default();
    for (rule, view) in classified {
        let Some(evidence_source) = view.proof.as_ref().map(|proof| proof.evidence_source) else {
            continue;
        };
        let place = Place::of(rule, evidence_source, &view);
        let (_, same) = shared
            .entry(place)
            .or_insert_with(|| (blamed(evidence_source, &view), Vec::new()));
        same.push((rule, view));
    }
    let ends = shared_ends(&shared);
    for (place, (blamed, same)) in shared {
        let Some((_, view)) = same.first() else {
            continue;
        };
        let blamed = blamed.unwrap_or_else(|| ends.get(&place.kind()).unwrap_or(&place.end).id());
        let key = key(&place, view, &blamed);
        members.entry(key).or_default().extend(same);
    }
    one_function::join(&mut members);
    in_part::join(&mut members);
    placeless::join(&mut members);
    handed::join(&mut members);
    let mut groups: Vec<(String, Group<'_>)> = members
        .into_iter()
        .filter_map(|(key, members)| Some((digest(&key), group(members, set)?)))
        .collect();
    accuse(&mut groups);
    groups
}

/// Victims point at the group of their process that has most sockets.
fn accuse(groups: &mut [(String, Group<'_>)]) {
    let mut most: HashMap<u32, Accused<'_>> = HashMap::default();
    for (_, group) in groups
        .iter()
        .filter(|(_, group)| group.evidence_source != EvidenceSource::Accused)
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
        .filter(|(_, group)| group.evidence_source == EvidenceSource::Accused)
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
    evidence_source: EvidenceSource,
    process: Option<u32>,
    stack: u64,
    thread: Option<Actor>,
    /// Who is blamed, where nobody on the stack is.
    elsewhere: Option<String>,
    /// Part of the key where nobody is blamed.
    end: End,
}

impl Place {
    fn of(rule: &dyn Rule, evidence_source: EvidenceSource, view: &SocketView<'_>) -> Self {
        let stack = evidence_source
            .operation(view)
            .map_or(0, |operation| operation.stack);
        Self {
            verdict: rule.verdict(),
            evidence_source,
            process: view.holder_pids().first().copied(),
            stack,
            thread: view
                .proof
                .as_ref()
                .and_then(Proof::thread)
                .map(Thread::actor),
            elsewhere: view
                .is_blamed_elsewhere()
                .then(|| blamed(evidence_source, view))
                .flatten(),
            end: End::of(view),
        }
    }

    /// What has one cause where nobody is blamed: of one process, and where it asked others, of the same service.
    fn kind(&self) -> Kind {
        let service = match self.end {
            End::To(address) => Some(address.port()),
            End::Port(_) | End::Unknown => None,
        };
        (self.verdict, self.evidence_source, self.process, service)
    }
}

type Kind = (Verdict, EvidenceSource, Option<u32>, Option<u16>);

/// Without a place of its own, all programs of one runtime would be alike: this tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum End {
    To(SocketAddr),
    Port(u16),
    Unknown,
}

impl End {
    fn of(view: &SocketView<'_>) -> Self {
        let endpoints = &view.socket.endpoints();
        match view.direction() {
            Some(Direction::Connected) => Self::To(endpoints.remote),
            Some(_) => Self::Port(endpoints.local.port()),
            None => Self::Unknown,
        }
    }

    /// Part of every such site's id: these strings never change.
    fn id(self) -> String {
        match self {
            Self::To(address) => format!(" to {}", Endpoint(address)),
            Self::Port(port) => format!(" port {port}"),
            Self::Unknown => " no history".to_owned(),
        }
    }
}

/// Ports are attributes of a finding: of all that share a cause, the least one stands for the rest.
fn shared_ends<T>(places: &HashMap<Place, (Option<String>, T)>) -> HashMap<Kind, End> {
    let mut ends: HashMap<Kind, End> = HashMap::default();
    let placeless = places.iter().filter(|(_, (blamed, _))| blamed.is_none());
    for (place, _) in placeless.filter(|(place, _)| place.process.is_some()) {
        let end = ends.entry(place.kind()).or_insert(place.end);
        *end = place.end.min(*end);
    }
    ends
}

fn group<'a>(mut members: Vec<Classified<'a>>, set: ReportParameters) -> Option<Group<'a>> {
    let (rule, view) = members.first()?;
    let (rule, evidence_source) = (*rule, view.proof.as_ref()?.evidence_source);
    members.sort_by_key(|(_, view)| (Reverse(view.age()), view.socket.cookie));
    let views: Vec<SocketView<'a>> = members.into_iter().map(|(_, view)| *view).collect();
    let confidence = confidence(&views)?;
    let mut owned: BTreeMap<u32, usize> = BTreeMap::new();
    for pid in views.iter().flat_map(SocketView::holder_pids).copied() {
        *owned.entry(pid).or_default() += 1;
    }
    let most = owned
        .iter()
        .max_by_key(|(pid, count)| (**count, Reverse(**pid)));
    let tracker = views.first()?.tracker;
    // Of a socket that ended: the process as it was then.
    let process = most.and_then(|(pid, _)| {
        let theirs = |view: &&SocketView<'_>| view.holder_pids().contains(pid);
        let view = views.iter().find(theirs)?;
        if view.has_ended() {
            view.process()
        } else {
            tracker.process(*pid)
        }
    });
    let context = views.first()?.context;
    let all = || {
        views
            .iter()
            .filter_map(|view| frames_of(evidence_source, view))
    };
    // Members that are known in part have joined those that are known as a whole.
    let frames = all()
        .take(MAX_SEARCHED)
        .find(|frames| context.blame(frames).is_some())
        .or_else(|| all().next());
    let blamed = frames.and_then(|frames| frames.get(context.blame(frames)?));
    let alone = blamed.is_some() && views.iter().all(in_part::may_be_a_wrapper);
    let confidence = if alone {
        confidence.min(Confidence::Low)
    } else {
        confidence
    };
    let handling = listeners::of(&views, blamed);
    let by_opening = blamed.is_some() && views.iter().any(SocketView::is_blamed_by_opening);
    Some(Group {
        rule,
        evidence_source,
        confidence,
        views,
        process,
        processes: owned.len() as u32,
        frames,
        blamed,
        handling,
        by_opening,
        accused: None,
        watched_from: set.watched_from,
        live: set.live,
        now: set.now,
    })
}

/// What three of four reach: they share a place, so what is proven of most holds for the few of which less is
/// known.
fn confidence(views: &[SocketView<'_>]) -> Option<Confidence> {
    let proofs = views.iter().filter_map(|view| view.proof.as_ref());
    let mut all: Vec<Confidence> = proofs.map(|proof| proof.confidence).collect();
    all.sort_unstable();
    all.get(all.len() / 4).copied()
}

pub fn frames_of<'a>(
    evidence_source: EvidenceSource,
    view: &SocketView<'a>,
) -> Option<&'a [Frame]> {
    let proof = view.proof.as_ref()?;
    let frames = match (proof.shows(), proof.frames()) {
        (Some(thread), _) if shows(view, thread) => thread.stack.as_slice(),
        (_, Some(frames)) => frames,
        _ => view
            .stack(evidence_source.operation(view))?
            .frames
            .as_slice(),
    };
    (!frames.is_empty()).then_some(frames)
}

pub fn blamed_frame<'a>(
    evidence_source: EvidenceSource,
    view: &SocketView<'a>,
) -> Option<&'a Frame> {
    let frames = frames_of(evidence_source, view)?;
    frames.get(view.context.blame(frames)?)
}

/// Samples that do not tell what a thread computes tell less than what it did last.
fn shows(view: &SocketView<'_>, thread: &Thread) -> bool {
    let computes = || view.context.waits.computes(thread).is_some();
    !thread.stack.is_empty() && (thread.sampled.is_none() || computes())
}

/// Where nobody is to blame, what the runtime and the libraries do on the way tells nothing: it differs from call to
/// call, and of some members less of it is known.
fn blamed(evidence_source: EvidenceSource, view: &SocketView<'_>) -> Option<String> {
    let frames = frames_of(evidence_source, view)?;
    let frame = blamed_frame(evidence_source, view)?;
    let thread = view.proof.as_ref()?.shows();
    // What is sampled is in many places of one function.
    let function = frame.function.as_deref();
    let function = function.filter(|_| thread.is_some_and(|thread| is_sampled(thread, frames)));
    Some(match function {
        Some(function) => {
            let module = frame.module.as_deref().unwrap_or("?");
            format!("{} {function}", frame.build_id.as_deref().unwrap_or(module))
        }
        None => identity(frame),
    })
}

/// Contains build-ids and offsets, never addresses, so that it is the same after a restart.
fn key(place: &Place, view: &SocketView<'_>, blamed: &str) -> String {
    let program = match view.process() {
        Some(process) => process.exe.as_deref().unwrap_or(&process.comm),
        None => "",
    };
    let source = place.evidence_source.id();
    format!("{}|{program}|{source}|{blamed}", place.verdict.name())
}

fn is_sampled(thread: &Thread, frames: &[Frame]) -> bool {
    thread.sampled.is_some() && std::ptr::eq(thread.stack.as_slice(), frames)
}

fn identity(frame: &Frame) -> String {
    let module = frame.module.as_deref().unwrap_or("?");
    let Some(build) = frame.build_id.as_deref() else {
        // Code made at run time lies elsewhere in the next run, but its names stay.
        if module.starts_with('[') {
            let (function, file) = (frame.function.as_deref(), frame.file.as_deref());
            let nameless = function == Some(Frame::ANONYMOUS);
            let line = frame.line.filter(|_| nameless);
            let line = line.map_or_else(String::new, |line| format!(":{line}"));
            return format!("{module}{:?}{line}", [function, file]);
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
