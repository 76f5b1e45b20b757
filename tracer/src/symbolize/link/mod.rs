//! The tracer's end of the channel to its helper: starts it when there is something to name, sends
//! what it lacks, and waits for an answer, but never for long. When the helper fails it is ended,
//! and the stack in question is not named. Processes of one user share a helper, and of no other user: one
//! that a file or a process has taken over could read memory of the next process it works for.

mod about;
mod child;
mod running;
mod suspects;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;

use super::StackCopy;
use super::goroutines::Goroutines;
use super::jit::PerfMapFile;
use super::listeners::Listening;
use super::message::{Answer, Key, Named, Request, Rules};
use super::open::FileId;
use super::process::Process;
use super::request::{Functions, RuntimeOf};
use super::tasks::Tasks;
use super::warning::Warning;
use crate::channel::Broken;
use crate::model::runtime::Runtimes;
use running::{Failure, Running, owned, stacks_of};
use suspects::{Rest, Suspect, Suspects};

/// Users for whose processes helpers run at once.
const MAX_HELPERS: usize = 4;

/// Who is at the other end of the channel.
pub(super) trait Peer {
    fn id(&self) -> Option<u32>;
    /// What it has used of CPUs.
    fn spent(&self) -> Duration;
    fn has_ended(&mut self) -> bool;
    fn end(&mut self);
}

pub(super) type Launch = Box<dyn FnMut(OwnedFd) -> io::Result<Box<dyn Peer>>>;

pub(super) struct Link {
    /// Language runtimes that may be read.
    pub runtimes: Runtimes,
    launch: Launch,
    /// By user, the one used last at the end.
    running: Vec<(u32, Running)>,
    suspects: Suspects,
    rest: Rest,
    /// Of helpers that are gone.
    evicted_names: u64,
    failures: u64,
    last_number: u64,
    warnings: Vec<Warning>,
}

impl Link {
    pub(super) fn new(launch: Launch) -> Self {
        Self {
            launch,
            runtimes: Runtimes::ALL,
            running: Vec::new(),
            suspects: Suspects::default(),
            rest: Rest::default(),
            evicted_names: 0,
            failures: 0,
            last_number: 0,
            warnings: Vec::new(),
        }
    }

    pub(super) fn to_program(program: PathBuf) -> Self {
        Self::new(Box::new(move |socket| {
            Ok(Box::new(child::start(&program, socket)?))
        }))
    }

    pub(super) fn helper(&self) -> Option<u32> {
        self.running
            .last()
            .and_then(|(_, running)| running.peer.id())
    }

    pub(super) fn spent(&self) -> Duration {
        let running = self.running.iter();
        running.map(|(_, running)| running.peer.spent()).sum()
    }

    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    pub(super) fn evicted_names(&self) -> u64 {
        let now = self
            .running
            .iter()
            .map(|(_, running)| running.evicted_names);
        self.evicted_names + now.sum::<u64>()
    }

    /// What has to be said besides the stacks.
    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    pub(super) fn forget(&mut self, pid: u32) {
        for (_, running) in &mut self.running {
            running.asked_for_memory.remove(&pid);
            if running.processes.remove(&pid).is_some() {
                running.later.push(Request::Forget { pid });
            }
        }
    }

    pub(super) fn drop_file(&mut self, key: Key) {
        for (_, running) in &mut self.running {
            if running.files.remove(&key) {
                running.later.push(Request::Drop { key });
            }
        }
    }

    /// The answer of the helper, or why there is none.
    pub(super) fn name(
        &mut self,
        process: &Process,
        perf_map_file: Option<&PerfMapFile>,
        copy: &StackCopy<'_>,
    ) -> Result<Named, Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let named = running.name(process, perf_map_file, copy, number, refused, warnings)?;
            running.evicted_names = named.evicted_names;
            Ok(named)
        })
    }

    /// How to leave each frame of the stack, or why that is not known.
    pub(super) fn rules(
        &mut self,
        process: &Process,
        copy: &StackCopy<'_>,
    ) -> Result<Rules, Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let request = Request::Rules(owned(copy, number, running.runtimes));
            match running.ask_of_memory(process, &request, number, refused, warnings)? {
                Answer::Rules(rules) => Ok(rules),
                _ => Err(stacks_of(process, Broken::Malformed)),
            }
        })
    }

    /// Which language runtime the process has, and whether its files alone have told that, without its memory.
    pub(super) fn runtime(
        &mut self,
        process: &Process,
        copy: &StackCopy<'_>,
    ) -> Result<(RuntimeOf, bool), Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let request = Request::Runtime(owned(copy, number, running.runtimes));
            match running.ask_of_memory(process, &request, number, refused, warnings)? {
                Answer::Runtime { found, .. } => {
                    Ok((found, !running.asked_for_memory.contains(&process.pid)))
                }
                _ => Err(stacks_of(process, Broken::Malformed)),
            }
        })
    }

    /// What the functions of a language runtime are called.
    pub(super) fn functions(
        &mut self,
        process: &Process,
        copy: &StackCopy<'_>,
    ) -> Result<Option<Functions>, Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let request = Request::Functions(owned(copy, number, running.runtimes));
            match running.ask_of_memory(process, &request, number, refused, warnings)? {
                Answer::Functions { told, .. } => Ok(told),
                _ => Err(stacks_of(process, Broken::Malformed)),
            }
        })
    }

    /// All goroutines of the process, if it is a Go program: of the threads by thread pointer, which one each runs.
    pub(super) fn goroutines(
        &mut self,
        process: &Process,
        threads: &[(u32, u64)],
        asked: &[u64],
    ) -> Result<Option<Goroutines>, Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let request = Request::Goroutines {
                number,
                pid: process.pid,
                runtimes: running.runtimes,
                threads: threads.to_vec(),
                asked: asked.to_vec(),
            };
            match running.ask_of_memory(process, &request, number, refused, warnings)? {
                Answer::Goroutines { found, .. } => Ok(found),
                _ => Err(stacks_of(process, Broken::Malformed)),
            }
        })
    }

    /// The suspended tasks of the process, if it uses asyncio.
    pub(super) fn tasks(&mut self, process: &Process) -> Result<Option<Tasks>, Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let request = Request::Tasks {
                number,
                pid: process.pid,
                runtimes: running.runtimes,
            };
            match running.ask_of_memory(process, &request, number, refused, warnings)? {
                Answer::Tasks { found, .. } => Ok(found),
                _ => Err(stacks_of(process, Broken::Malformed)),
            }
        })
    }

    /// Who listens to the process's sockets, if it is one of Node.js.
    pub(super) fn listeners(
        &mut self,
        process: &Process,
        descriptors: &[i32],
    ) -> Result<Option<Listening>, Warning> {
        self.ask(process, |running, number, refused, warnings| {
            let request = Request::Listeners {
                number,
                pid: process.pid,
                runtimes: running.runtimes,
                descriptors: descriptors.to_vec(),
            };
            match running.ask_of_memory(process, &request, number, refused, warnings)? {
                Answer::Listeners { found, .. } => Ok(found),
                _ => Err(stacks_of(process, Broken::Malformed)),
            }
        })
    }

    fn ask<T>(
        &mut self,
        process: &Process,
        ask: impl FnOnce(
            &mut Running,
            u64,
            &dyn Fn(FileId) -> bool,
            &mut Vec<Warning>,
        ) -> Result<T, Failure>,
    ) -> Result<T, Warning> {
        let (pid, start) = (process.pid, process.start);
        if self.suspects.refuses(Suspect::Stacks(pid, start)) {
            return Err(Warning::StacksRefused { pid });
        }
        let mut running = self.take_running(process.user)?;
        self.last_number += 1;
        let suspects = &self.suspects;
        let refused = |id: FileId| suspects.refuses(Suspect::File(id));
        let answer = ask(&mut running, self.last_number, &refused, &mut self.warnings);
        match answer {
            Ok(answer) => {
                self.running.push((process.user, running));
                Ok(answer)
            }
            Err(failure) => {
                self.evicted_names += running.evicted_names;
                running.end();
                self.failures += 1;
                self.rest.failed(Instant::now());
                if let Some(suspect) = failure.suspect {
                    self.suspects.add(suspect);
                }
                Err(Warning::HelperEnded {
                    how: failure.broken.to_string(),
                    doing: failure.doing,
                })
            }
        }
    }

    /// The helper that runs for this user, or a new one.
    fn take_running(&mut self, user: u32) -> Result<Running, Warning> {
        let known = self.running.iter().position(|(of, _)| *of == user);
        if let Some(place) = known {
            let (_, mut running) = self.running.remove(place);
            if !running.peer.has_ended() {
                return Ok(running);
            }
            // It ended while nobody asked it anything: an accident, like a signal to all processes
            // of a service.
            self.evicted_names += running.evicted_names;
            self.rest.failed(Instant::now());
        }
        if !self.rest.is_over(Instant::now()) {
            return Err(Warning::HelperResting);
        }
        if self.running.len() >= MAX_HELPERS {
            let (_, oldest) = self.running.remove(0);
            self.evicted_names += oldest.evicted_names;
            oldest.end();
        }
        Running::start(&mut self.launch, self.runtimes).map_err(|error| {
            self.rest.failed(Instant::now());
            let reason = error.to_string();
            Warning::HelperUnavailable { reason }
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for (_, running) in self.running.drain(..) {
            running.end();
        }
    }
}
