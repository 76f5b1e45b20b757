//! The whole report from the tracker, and what the tracker still lacks for it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use foldhash::HashSet;
use jiff::Timestamp;

use super::{
    Blamer, SocketView, about_to_be_stuck,
    context::{ReportContext, loops::left_at},
    evidence,
    grouping::{ReportParameters, groups},
    holdings::Holdings,
    rules::{Proof, classify, looks::Looks},
    siblings,
    site::site,
    warnings,
};
use crate::{
    model::{
        actor::{Actor, Goroutine},
        input::{Process, RunHeader, Scope},
        report::{EventCounts, Report, SchemaId, Totals, Window},
        verdict::Verdict,
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
pub struct DataRequests {
    pub stacks: BTreeSet<u64>,
    pub processes: BTreeSet<u32>,
    /// The same, those with most of the sockets first.
    pub busiest: Vec<u32>,
    pub epolls: BTreeSet<u32>,
    /// Threads that touched the sockets: are they still at it?
    pub threads: BTreeSet<u32>,
    pub goroutines: BTreeSet<Goroutine>,
    /// Processes whose virtual threads did.
    pub virtual_threads: BTreeSet<u32>,
    /// By the processes that hold them: descriptor and inode.
    pub listeners: BTreeMap<u32, Vec<(u32, u64)>>,
    /// A process in each of their network namespaces.
    pub namespaces: BTreeMap<u32, u32>,
}

/// `taken_of` tells of which process the stack of a key was taken, as far as it is known.
pub fn data_requests(
    tracker: &Tracker,
    blamer: Blamer<'_>,
    taken_of: &dyn Fn(u64) -> Option<u32>,
) -> DataRequests {
    let mut data_requests = DataRequests::default();
    let mut opened = BTreeSet::new();
    let mut owned: BTreeMap<u32, usize> = BTreeMap::new();
    let scope = tracker.run_header().map(|run_header| &run_header.scope);
    let asked = |view: &SocketView<'_>| scope.is_none_or(|scope| may_be_in(scope, view));
    let context = ReportContext::of_stuck(tracker, blamer);
    let matters = |view: &SocketView<'_>| view.is_stuck() || view.awaits_evidence();
    for view in views(&context).filter(matters).filter(asked) {
        if view.awaits_evidence() {
            for pid in view.holder_pids() {
                owned.entry(*pid).or_default();
            }
            data_requests.processes.extend(view.holder_pids());
            continue;
        }
        let history = *view.socket.history;
        let operations = [history.opened, history.used, history.eof];
        for operation in operations.into_iter().flatten() {
            if operation.stack != 0 && tracker.stack(operation.stack).is_none() {
                data_requests.stacks.insert(operation.stack);
            }
        }
        let changes = tracker.epoll_changes(view.socket.cookie);
        let last = view.last_operation();
        if let Some(change) = last.and_then(|last| left_at(changes, last.at))
            && change.stack != 0
            && tracker.stack(change.stack).is_none()
        {
            data_requests.stacks.insert(change.stack);
        }
        opened.extend(history.opened.map(|operation| operation.stack));
        // Of what ended nothing can be looked at any more: its pid may be another process's.
        if view.has_ended() {
            continue;
        }
        for operation in operations.into_iter().flatten() {
            match operation.actor() {
                Actor::Thread(tid) => data_requests.threads.insert(tid),
                Actor::Goroutine(goroutine) => data_requests.goroutines.insert(goroutine),
                Actor::Task(task) => data_requests.virtual_threads.insert(task.pid),
            };
        }
        for holder in &view.socket.holders {
            let held = data_requests.listeners.entry(holder.pid).or_default();
            held.push((holder.fd, view.socket.inode));
        }
        let holder_pids = view.holder_pids();
        // Only history makes the rules ask whether an event loop still watches the socket, and an accept queue whether a
        // loop waits for something else.
        let has_history = operations.iter().any(Option::is_some);
        if view.socket.recv_q > 0 && has_history || view.is_unaccepted() {
            data_requests.epolls.extend(holder_pids);
        }
        if let Some(pid) = holder_pids.first() {
            let known = data_requests.namespaces.entry(view.socket.netns);
            known.or_insert(*pid);
        }
        for pid in holder_pids {
            *owned.entry(*pid).or_default() += 1;
        }
        data_requests.processes.extend(holder_pids);
    }
    data_requests.busiest = owned.keys().copied().collect();
    data_requests
        .busiest
        .sort_by_key(|pid| Reverse(owned.get(pid).copied()));
    let openers = opened.iter().filter_map(|key| taken_of(*key));
    let processes: BTreeSet<u32> = openers.chain(owned.into_keys()).collect();
    let is_theirs = |key| taken_of(key).is_some_and(|pid| processes.contains(&pid));
    let close_counts = siblings::data_requests(tracker, &opened, is_theirs).into_iter();
    data_requests
        .stacks
        .extend(close_counts.filter(|key| tracker.stack(*key).is_none()));
    data_requests
}

/// The report, and the moment at which rules that could not prove their case yet should be asked again.
pub struct Findings {
    pub report: Report,
    pub ask_again_at: Option<u64>,
    pub holdings: Holdings,
    pub members: Vec<Members>,
    /// Sockets that were stuck and ended since the report before this one.
    pub passed: Vec<u64>,
}

/// The sockets of a site that are surely stuck, or were until an exit.
pub struct Members {
    pub id: String,
    pub cookies: Vec<u64>,
    /// A rule has to be asked again: in a moment they may belong elsewhere.
    pub open: bool,
}

/// `None` before the first input.
pub fn report(tracker: &Tracker, style: Style, blamer: Blamer<'_>) -> Option<Findings> {
    let run_header = tracker.run_header()?;
    let wall = |at: u64| tracker.wall(at).unwrap_or(run_header.wall);
    let set = ReportParameters {
        watched_from: run_header.at,
        live: run_header.live,
        now: tracker.now(),
        sockets_per_site: style.sockets_per_site,
    };
    let mut totals = Totals::default();
    let mut classified = Vec::new();
    let mut ask_again_at: Option<u64> = None;
    let mut nobodys = 0;
    let mut holdings = Holdings::default();
    let context = ReportContext::new(tracker, blamer);
    let mut looks = HashSet::default();
    for mut view in views(&context) {
        if !in_scope(&view, run_header) {
            nobodys += u64::from(may_be_theirs(&view, &run_header.scope));
            continue;
        }
        totals.close_wait += u64::from(view.in_close_wait() && !view.has_ended());
        let answer = classify(&view);
        holdings.add(&view, answer.is_some());
        let Some((rule, mut proof, again)) = answer else {
            continue;
        };
        share(&mut looks, &mut proof);
        ask_again_at = ask_again_at.into_iter().chain(again).min();
        if view.is_undecided() {
            totals.undecided += 1;
        } else if !view.has_ended() {
            totals.stuck += 1;
            totals.unaccepted += u64::from(view.is_unaccepted());
            totals.hidden += u64::from(view.is_hidden());
        }
        view.proof = Some(proof);
        classified.push((rule, Box::new(view)));
    }
    let passed = passed(&context, run_header);
    let groups = groups(classified, set);
    let members = groups.iter().map(|(id, group)| Members {
        id: id.clone(),
        cookies: group.members(),
        open: ask_again_at.is_some() && group.rule.verdict() == Verdict::Unknown,
    });
    let members = members.collect();
    let sites = groups
        .into_iter()
        .filter_map(|(id, group)| site(id, &group, set, wall))
        .collect();
    let mut report = Report {
        schema: SchemaId::V1,
        tool: run_header.tool.clone(),
        host: run_header.host.clone(),
        hooks: evidence::hooks(tracker, run_header),
        window: window(tracker, run_header, wall(tracker.now())),
        totals,
        sites,
        about_to_be_stuck: about_to_be_stuck::all(tracker, run_header, style),
        warnings: warnings::of(tracker, run_header, nobodys),
    };
    report.sort_sites();
    Some(Findings {
        report,
        ask_again_at,
        holdings,
        members,
        passed,
    })
}

/// Each of very many sockets with looks of its own would take more memory than all else of it.
fn share(known: &mut HashSet<Rc<Looks>>, proof: &mut Proof<'_>) {
    match known.get(&proof.looks) {
        Some(same) => proof.looks = Rc::clone(same),
        None => {
            known.insert(Rc::clone(&proof.looks));
        }
    }
}

/// The processes that hold what is stuck, or seems to be, or could accept it; `None` where nothing is.
pub fn concerned(tracker: &Tracker) -> Option<BTreeSet<u32>> {
    let run_header = tracker.run_header()?;
    let context = ReportContext::of_stuck(tracker, &|_| None);
    let mut stuck = views(&context)
        .filter(|view| view.is_stuck() || view.awaits_evidence())
        .filter(|view| !view.has_ended() && in_scope(view, run_header))
        .peekable();
    stuck.peek()?;
    Some(stuck.flat_map(|view| view.holder_pids().to_vec()).collect())
}

fn passed(context: &ReportContext<'_>, run_header: &RunHeader) -> Vec<u64> {
    let view = |socket| SocketView::new(socket, context, run_header.min_age_ns);
    let views = context.tracker.passed().map(view);
    views
        .filter(|view| view.was_stuck() && in_scope(view, run_header))
        .map(|view| view.socket.cookie)
        .collect()
}

fn views<'a>(context: &'a ReportContext<'a>) -> impl Iterator<Item = SocketView<'a>> {
    let tracker = context.tracker;
    let min_age = tracker
        .run_header()
        .map_or(0, |run_header| run_header.min_age_ns);
    let view = move |socket: &'a Socket| SocketView::new(socket, context, min_age);
    tracker.sockets().chain(tracker.ended()).map(view)
}

/// Does the user want to see it? A filter that needs an owner leaves out what has none.
fn in_scope(view: &SocketView<'_>, run_header: &RunHeader) -> bool {
    fits(&run_header.scope, view, false)
}

/// The same before its processes were looked at.
fn may_be_in(scope: &Scope, view: &SocketView<'_>) -> bool {
    fits(scope, view, true)
}

fn is_of_ports(scope: &Scope, view: &SocketView<'_>) -> bool {
    let endpoints = &view.socket.endpoints();
    let mut ports = [endpoints.local.port(), endpoints.remote.port()].into_iter();
    scope.ports.is_empty() || ports.any(|port| scope.ports.contains(&port))
}

/// Stuck, held by no process, and nobody was seen to open or use it: it may be of those that were asked for.
fn may_be_theirs(view: &SocketView<'_>, scope: &Scope) -> bool {
    !is_one_tree(view)
        && view.is_nobodys()
        && view.is_stuck()
        && is_of_ports(scope, view)
        && view.concerned_pids().is_empty()
}

fn fits(scope: &Scope, view: &SocketView<'_>, unknown_fits: bool) -> bool {
    let pids = view.concerned_pids();
    let any = |fits: &dyn Fn(&Process) -> bool| {
        pids.iter().any(|pid| match view.tracker.process(*pid) {
            Some(process) => fits(process),
            None => unknown_fits,
        })
    };
    let of_pids = scope.pids.is_empty()
        || is_of_the_tree(view)
        || pids.iter().any(|pid| view.tracker.followed().contains(pid));
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
    is_of_ports(scope, view) && of_pids && comm && cgroup
}

/// Where one tree is followed, the kernel program remembers and tells of nothing else; by the time of a report its
/// processes may be gone.
fn is_of_the_tree(view: &SocketView<'_>) -> bool {
    is_one_tree(view) && view.socket.is_remembered()
}

fn is_one_tree(view: &SocketView<'_>) -> bool {
    let header = view.tracker.run_header();
    header.is_some_and(|header| header.exit_age_ns.is_some())
}

pub(super) fn is_below(cgroup: &str, wanted: &str) -> bool {
    cgroup
        .strip_prefix(wanted.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn window(tracker: &Tracker, run_header: &RunHeader, end: Timestamp) -> Window {
    let counters = tracker.counters();
    let balanced = counters.seen == counters.submitted + counters.lost
        && counters.submitted == counters.received + counters.damaged;
    Window {
        start: run_header.wall,
        end,
        events: EventCounts {
            seen: counters.seen + tracker.candidate(),
            submitted: counters.submitted + tracker.candidate(),
            received: counters.received + tracker.candidate(),
            lost: counters.all_lost(),
        },
        complete: tracker.is_complete() && (balanced || !run_header.live),
        min_age_seconds: Some(run_header.min_age_ns as f64 / 1e9),
        exit_age_seconds: run_header.exit_age_ns.map(|ns| ns as f64 / 1e9),
    }
}
