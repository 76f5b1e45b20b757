//! All goroutines of a Go program, read from its memory by way of the tracer, and named. Those that move meanwhile
//! are told as such, without a stack.

use std::collections::{HashMap, HashSet};

use rustix::fd::OwnedFd;

use super::managed::{fetch, learnt};
use super::serve::Known;
use crate::model::runtime::Runtimes;
use crate::model::stack::{Frame, FrameAddress};
use crate::symbolize::code::CodeIndex;
use crate::symbolize::frames::Naming;
use crate::symbolize::goroutines::{
    Goroutine, Goroutines, MAX_FRAMES, MAX_STACKS, MAX_TOLD, MAX_WALKED, Running, WaitingPlace,
};
use crate::symbolize::images::Images;
use crate::symbolize::runtimes::golang::{Descriptors, G, Golang, Place, Walker};
use crate::symbolize::runtimes::memory::{MAX_PAGES_OF_GOROUTINES, Memory};
use crate::symbolize::unwind::{CodeAddress, PhysicalFrame, Walk};

/// In these a goroutine waits for the runtime's poller.
const POLLED: &str = "internal/poll.runtime_pollWait";
/// The program's first goroutine begins with this function of the runtime.
const MAIN: &str = "runtime.main";

pub(super) struct Asked<'a> {
    pub pid: u32,
    pub runtimes: Runtimes,
    /// Thread id and thread pointer.
    pub threads: &'a [(u32, u64)],
    /// Ids of goroutines whose stacks come first.
    pub first: &'a [u64],
}

/// `None` when it is no Go program.
pub(super) fn read(
    socket: &OwnedFd,
    known: &Known,
    images: &mut Images,
    asked: &Asked<'_>,
) -> Option<Goroutines> {
    let code = known.walker.code();
    let mut fetch_first = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch_first).with_room(MAX_PAGES_OF_GOROUTINES / 2);
    let go = learnt(known, asked.runtimes, &mut memory)?.go()?;
    let (mut all, mut complete) = go.list(&mut memory, MAX_TOLD);
    let first: HashSet<u64> = asked.first.iter().copied().collect();
    all.sort_by_key(|g| (!first.contains(&g.id), !g.waits()));
    let threads = on_threads(go, &mut memory, &all, asked.threads);
    let mut stacks = Stacks::new(code);
    let mut walked = Vec::new();
    for g in all.iter().filter(|g| g.waits()).take(MAX_WALKED) {
        memory.want((g.sp..g.high.min(g.sp.saturating_add(8192))).step_by(4096));
        if let Some(stack) = stacks.of(&mut memory, g) {
            walked.push((*g, stack));
        }
    }
    let created: HashMap<u64, u32> = all
        .iter()
        .take(MAX_WALKED)
        .filter_map(|g| Some((g.id, stacks.of_address(g.created_at)?)))
        .collect();
    let mut named = stacks.named(images, asked.pid);
    let waited_for: HashMap<u64, i32> = walked
        .iter()
        .filter(|(_, stack)| {
            let place = named.get(*stack as usize);
            place.is_some_and(|place| has(place, POLLED))
        })
        .filter_map(|(g, _)| Some((g.id, Descriptors::waited_for(&mut memory, g)?)))
        .collect();
    let gs: Vec<G> = walked.iter().map(|(g, _)| *g).collect();
    drop(memory);
    let mut fetch_again = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch_again).with_room(MAX_PAGES_OF_GOROUTINES / 4);
    let unchanged = go.are_unchanged(&mut memory, &gs);
    let stack_of: HashMap<u64, u32> = walked
        .iter()
        .zip(unchanged)
        .filter(|(_, unchanged)| *unchanged)
        .map(|((g, stack), _)| (g.id, *stack))
        .collect();
    complete &= all.iter().filter(|g| g.waits()).count() <= walked.len();
    let own = |g: &G| {
        let place = stack_of.get(&g.id).and_then(|at| named.get(*at as usize));
        !place.is_some_and(is_of_runtime)
    };
    let goroutines = all.iter().filter(|g| own(g)).map(|g| {
        let stack = stack_of.get(&g.id).copied();
        let running = match (stack, threads.of.get(&g.at)) {
            (Some(_), _) => Running::Waits,
            (None, Some(thread)) if !g.waits() => Running::OnThread(*thread),
            _ => Running::Moves,
        };
        Goroutine {
            id: g.id,
            running,
            stack,
            waits_for: waited_for.get(&g.id).copied().filter(|_| stack.is_some()),
            since: if stack.is_some() { g.since } else { 0 },
            creator: g.creator,
            created_in: created.get(&g.id).copied(),
        }
    });
    let goroutines = goroutines.collect();
    for place in &mut named {
        place.truncated |= place.frames.is_empty();
    }
    Some(Goroutines {
        goroutines,
        stacks: named,
        all: complete,
        idle_threads: threads.idle,
    })
}

#[derive(Default)]
struct OnThreads {
    /// By the address of the goroutine.
    of: HashMap<u64, u32>,
    idle: Vec<u32>,
}

fn on_threads(
    go: &Golang,
    memory: &mut Memory<'_>,
    all: &[G],
    threads: &[(u32, u64)],
) -> OnThreads {
    memory.want(threads.iter().map(|(_, thread)| thread.wrapping_sub(8)));
    let goroutines: HashSet<u64> = all.iter().map(|g| g.at).collect();
    // While one is in C code, its thread is on the stack of the scheduler.
    let moving = all.iter().filter(|g| !g.waits());
    let by_scheduler: HashMap<u64, u64> = moving
        .filter_map(|g| Some((Golang::scheduler(memory, g)?, g.at)))
        .collect();
    let mut found = OnThreads::default();
    for (thread, pointer) in threads {
        let Some(running) = go.running(memory, *pointer) else {
            continue;
        };
        let goroutine = Some(running).filter(|at| goroutines.contains(at));
        match goroutine.or_else(|| by_scheduler.get(&running).copied()) {
            Some(at) => {
                found.of.insert(at, *thread);
            }
            None => found.idle.push(*thread),
        }
    }
    found
}

/// Different stacks, each once.
struct Stacks<'a> {
    code: &'a CodeIndex,
    walker: Walker<'a>,
    known: HashMap<Vec<Place>, u32>,
    walks: Vec<(Vec<Place>, bool)>,
    frames: usize,
}

impl<'a> Stacks<'a> {
    fn new(code: &'a CodeIndex) -> Self {
        Self {
            code,
            walker: Walker::new(code),
            known: HashMap::new(),
            walks: Vec::new(),
            frames: 0,
        }
    }

    fn of(&mut self, memory: &mut Memory<'_>, g: &G) -> Option<u32> {
        let (places, truncated) = self.walker.walk(memory, g);
        self.add(places, truncated)
    }

    /// The functions at an address that a call returns to.
    fn of_address(&mut self, address: u64) -> Option<u32> {
        let known = self.code.find(address)?.is_go();
        let place = Place { address, cfa: 0 };
        known.then(|| self.add(vec![place], false)).flatten()
    }

    fn add(&mut self, places: Vec<Place>, truncated: bool) -> Option<u32> {
        if let Some(known) = self.known.get(&places) {
            return Some(*known);
        }
        self.frames += places.len();
        if places.is_empty() || self.walks.len() >= MAX_STACKS || self.frames > MAX_FRAMES / 4 {
            return None;
        }
        let number = self.walks.len() as u32;
        self.known.insert(places.clone(), number);
        self.walks.push((places, truncated));
        Some(number)
    }

    fn named(&self, images: &mut Images, pid: u32) -> Vec<WaitingPlace> {
        let mut warnings = Vec::new();
        let mut naming = Naming {
            pid,
            is_noted: true,
            jit: None,
            code: self.code,
            images,
            warnings: &mut warnings,
        };
        let mut named = Vec::new();
        let mut left = MAX_FRAMES;
        for (places, truncated) in &self.walks {
            let (mut frames, mut frames_at) = naming.frames(&walk(places), 0);
            let room = frames.len().min(left);
            left -= room;
            let cut = room < frames.len();
            frames.truncate(room);
            frames_at.retain(|place: &FrameAddress| (place.frame as usize) < room);
            named.push(WaitingPlace {
                frames,
                frames_at,
                truncated: *truncated || cut,
            });
        }
        named
    }
}

/// As naming wants it: the innermost address too is one that a call will return to. Addresses of frames are counted down from the end of the stack, wrapping.
fn walk(places: &[Place]) -> Walk {
    let addresses = places.iter().map(|place| CodeAddress {
        at: place.address,
        lookup: place.address.wrapping_sub(1),
    });
    let callers = places.iter().skip(1);
    let frames = places.iter().zip(callers).enumerate();
    Walk {
        addresses: addresses.collect(),
        frames: frames
            .map(|(address, (place, caller))| PhysicalFrame {
                address,
                cfa: 0_u64.wrapping_sub(place.cfa),
                return_address: caller.address,
            })
            .collect(),
        truncated: false,
        left_known_code: false,
        searched: None,
    }
}

fn function(frame: &Frame) -> &str {
    frame.function.as_deref().unwrap_or_default()
}

fn has(place: &WaitingPlace, name: &str) -> bool {
    place.frames.iter().any(|frame| function(frame) == name)
}

/// Of the runtime's own goroutines: none of their functions is of anything else.
fn is_of_runtime(place: &WaitingPlace) -> bool {
    !place.truncated
        && !has(place, MAIN)
        && place.frames.iter().all(|frame| {
            let name = function(frame);
            name.starts_with("runtime.") || name.starts_with("internal/runtime/")
        })
}
