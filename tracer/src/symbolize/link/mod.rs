//! The tracer's end of the channel to its helper: starts it when there is something to name, sends
//! what it lacks, and waits for an answer, but never for long. When the helper fails it is ended,
//! and the stack in question is not named.

mod child;
mod running;
mod suspects;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use rustix::fd::OwnedFd;

use super::StackCopy;
use super::jit::PerfMapFile;
use super::message::{Key, Named, Request};
use super::open::FileId;
use super::process::Process;
use super::warning::Warning;
use running::Running;
use suspects::{Rest, Suspect, Suspects};

/// Who is at the other end of the channel.
pub(super) trait Peer {
    fn id(&self) -> Option<u32>;
    fn has_ended(&mut self) -> bool;
    fn end(&mut self);
}

pub(super) type Launch = Box<dyn FnMut(OwnedFd) -> io::Result<Box<dyn Peer>>>;

pub(super) struct Link {
    launch: Launch,
    running: Option<Running>,
    suspects: Suspects,
    rest: Rest,
    /// Of helpers that are gone.
    evicted_names: u64,
    last_number: u64,
    warnings: Vec<Warning>,
}

impl Link {
    pub(super) fn new(launch: Launch) -> Self {
        Self {
            launch,
            running: None,
            suspects: Suspects::default(),
            rest: Rest::default(),
            evicted_names: 0,
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
        self.running.as_ref().and_then(|running| running.peer.id())
    }

    pub(super) fn evicted_names(&self) -> u64 {
        let now = self
            .running
            .as_ref()
            .map_or(0, |running| running.evicted_names);
        self.evicted_names + now
    }

    /// What has to be said besides the stacks.
    pub(super) fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    pub(super) fn forget(&mut self, pid: u32) {
        if let Some(running) = &mut self.running
            && running.processes.remove(&pid).is_some()
        {
            running.later.push(Request::Forget { pid });
        }
    }

    pub(super) fn drop_file(&mut self, key: Key) {
        if let Some(running) = &mut self.running
            && running.files.remove(&key)
        {
            running.later.push(Request::Drop { key });
        }
    }

    /// The answer of the helper, or why there is none.
    pub(super) fn name(
        &mut self,
        process: &Process,
        perf_map_file: Option<&PerfMapFile>,
        copy: &StackCopy<'_>,
    ) -> Result<Named, Warning> {
        let (pid, start) = (process.pid, process.start);
        if self.suspects.refuses(Suspect::Stacks(pid, start)) {
            return Err(Warning::StacksRefused { pid });
        }
        let mut running = self.take_running()?;
        self.last_number += 1;
        let number = self.last_number;
        let suspects = &self.suspects;
        let refused = |id: FileId| suspects.refuses(Suspect::File(id));
        let answer = running.name(
            process,
            perf_map_file,
            copy,
            number,
            &refused,
            &mut self.warnings,
        );
        match answer {
            Ok(named) => {
                running.evicted_names = named.evicted_names;
                self.running = Some(running);
                Ok(named)
            }
            Err(failure) => {
                self.evicted_names += running.evicted_names;
                running.peer.end();
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

    /// The helper that runs, or a new one.
    fn take_running(&mut self) -> Result<Running, Warning> {
        if let Some(mut running) = self.running.take() {
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
        Running::start(&mut self.launch).map_err(|error| {
            self.rest.failed(Instant::now());
            let reason = error.to_string();
            Warning::HelperUnavailable { reason }
        })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            running.peer.end();
        }
    }
}
