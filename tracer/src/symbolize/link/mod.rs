//! The tracer's end of the channel to its helper: starts it when there is something to name, sends
//! what it lacks, and waits for an answer, but never for long. When the helper fails it is ended,
//! and the stack in question is not named.

mod child;
mod suspects;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::StackCopy;
use super::channel::{self, Broken};
use super::files::Held;
use super::message::{
    Answer, Content, Copy, Key, MAX_ANSWER, Named, Region, Request, Unusable, Wall,
};
use super::open::{self, FileId};
use super::process::{Process, Source};
use super::warning::Warning;
use suspects::{Rest, Suspect, Suspects};

/// To start on a busy machine.
const STARTED: Duration = Duration::from_secs(5);
/// To unwind one stack, or to look up the names in one file.
const ANSWER: Duration = Duration::from_secs(2);
/// To read the unwind tables of a file, or its names for the first time: 1 GiB of debug
/// information takes some seconds.
const LOAD: Duration = Duration::from_secs(10);
/// For all of it, however many files take part.
const WHOLE: Duration = Duration::from_secs(20);

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

struct Running {
    peer: Box<dyn Peer>,
    socket: OwnedFd,
    ready: bool,
    files: HashSet<Key>,
    /// With the version that was sent.
    processes: HashMap<u32, u64>,
    /// To be said with the next request.
    later: Vec<Request>,
    evicted_names: u64,
}

/// Why there is no answer, and what was going on.
struct Failure {
    broken: Broken,
    suspect: Option<Suspect>,
    doing: String,
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
        let answer = running.name(process, copy, number, &refused, &mut self.warnings);
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
        start_with(&mut self.launch).map_err(|error| {
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

fn start_with(launch: &mut Launch) -> io::Result<Running> {
    let flags = SocketFlags::CLOEXEC;
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    Ok(Running {
        peer: launch(theirs)?,
        socket,
        ready: false,
        files: HashSet::new(),
        processes: HashMap::new(),
        later: Vec::new(),
        evicted_names: 0,
    })
}

impl Running {
    fn name(
        &mut self,
        process: &Process,
        copy: &StackCopy<'_>,
        number: u64,
        refused: &dyn Fn(FileId) -> bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Named, Failure> {
        let whole = Instant::now() + WHOLE;
        let starting = |broken| Failure {
            broken,
            suspect: None,
            doing: "starting".to_owned(),
        };
        if !self.ready {
            self.become_ready(warnings).map_err(starting)?;
        }
        for request in std::mem::take(&mut self.later) {
            self.send(&request, None, whole).map_err(starting)?;
        }
        for (held, module) in process.files() {
            if !refused(held.id) && !self.files.contains(&held.key) {
                self.load(held, whole).map_err(|broken| Failure {
                    broken,
                    suspect: Some(Suspect::File(held.id)),
                    doing: format!("reading {module}"),
                })?;
            }
        }
        let stacks = |broken| Failure {
            broken,
            suspect: Some(Suspect::Stacks(process.pid, process.start)),
            doing: format!("unwinding a stack of process {}", process.pid),
        };
        if self.processes.get(&process.pid) != Some(&process.version) {
            let request = about(process, refused);
            self.send(&request, None, whole).map_err(stacks)?;
            self.processes.insert(process.pid, process.version);
        }
        let request = Request::Name(owned(copy, number));
        self.send(&request, None, whole).map_err(stacks)?;
        self.answer(process, number, whole)
    }

    fn become_ready(&mut self, warnings: &mut Vec<Warning>) -> Result<(), Broken> {
        let Answer::Ready { without } = self.receive(Instant::now() + STARTED)? else {
            return Err(Broken::Malformed);
        };
        self.ready = true;
        let missing: Vec<&str> = without.into_iter().map(Wall::name).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            warnings.push(Warning::ConfinedLess { missing });
        }
        Ok(())
    }

    fn load(&mut self, held: &Held, whole: Instant) -> Result<(), Broken> {
        let key = held.key;
        let request = Request::File { key, id: held.id };
        self.send(&request, Some(held.file.as_fd()), whole)?;
        let until = whole.min(Instant::now() + LOAD);
        let outcome = match self.receive(until)? {
            Answer::Loaded { key: of, outcome } if of == key => outcome,
            _ => return Err(Broken::Malformed),
        };
        self.files.insert(key);
        if let Ok(Some(build_id)) = &outcome
            && let Some(file) = open::debug_file(build_id)
        {
            let request = Request::DebugFile { of: key };
            self.send(&request, Some(file.as_fd()), whole)?;
        }
        // The first answer stays: a file does not change under one identity.
        let _ = held.loaded.set(outcome);
        Ok(())
    }

    fn answer(&mut self, process: &Process, number: u64, whole: Instant) -> Result<Named, Failure> {
        let mut suspect = Suspect::Stacks(process.pid, process.start);
        let mut doing = format!("unwinding a stack of process {}", process.pid);
        let mut until = whole.min(Instant::now() + ANSWER);
        loop {
            let answer = self.receive(until).and_then(|answer| match answer {
                Answer::Named(named) if named.number != number => Err(Broken::Malformed),
                Answer::Named(_) | Answer::Reading { .. } => Ok(answer),
                _ => Err(Broken::Malformed),
            });
            match answer {
                Ok(Answer::Named(named)) => return Ok(named),
                Ok(Answer::Reading { id, first }) => {
                    let mut files = process.files();
                    // The vDSO is no file, and asks for no patience.
                    if let Some((_, module)) = files.find(|(held, _)| held.id == id) {
                        let patience = if first { LOAD } else { ANSWER };
                        until = whole.min(Instant::now() + patience);
                        suspect = Suspect::File(id);
                        doing = format!("looking up names in {module}");
                    }
                }
                Ok(_) => {}
                Err(broken) => {
                    return Err(Failure {
                        broken,
                        suspect: Some(suspect),
                        doing,
                    });
                }
            }
        }
    }

    fn send(
        &self,
        request: &Request,
        descriptor: Option<BorrowedFd<'_>>,
        until: Instant,
    ) -> Result<(), Broken> {
        let until = until.min(Instant::now() + ANSWER);
        channel::send(self.socket.as_fd(), request, descriptor, Some(until))
    }

    fn receive(&self, until: Instant) -> Result<Answer, Broken> {
        let (answer, _): (Answer, _) =
            channel::receive(self.socket.as_fd(), MAX_ANSWER, Some(until))?;
        answer
            .is_plausible()
            .then_some(answer)
            .ok_or(Broken::Malformed)
    }
}

fn about(process: &Process, refused: &dyn Fn(FileId) -> bool) -> Request {
    let regions = process.code.iter().map(|(mapping, source)| Region {
        mapping: mapping.clone(),
        content: match source {
            Source::Nothing => Content::Nothing,
            Source::Memory(bytes) => Content::Memory(bytes.clone()),
            Source::Problem(problem) => Content::Problem(problem.clone()),
            Source::File(held) => match problem(process.pid, &mapping.name, held, refused) {
                Some(problem) => Content::Problem(problem),
                None => Content::File(held.key),
            },
        },
    });
    Request::Process {
        pid: process.pid,
        regions: regions.collect(),
    }
}

fn problem(
    pid: u32,
    module: &str,
    held: &Held,
    refused: &dyn Fn(FileId) -> bool,
) -> Option<Warning> {
    let module = module.to_owned();
    if refused(held.id) {
        return Some(Warning::FileRefused { module });
    }
    match held.loaded.get()?.as_ref().err()? {
        Unusable::Changed => Some(Warning::FileReplaced { pid, module }),
        Unusable::Because(reason) => Some(Warning::NotAProgram {
            pid,
            module,
            reason: reason.clone(),
        }),
    }
}

fn owned(copy: &StackCopy<'_>, number: u64) -> Copy {
    Copy {
        number,
        pid: copy.pid,
        pc: copy.pc,
        sp: copy.sp,
        fp: copy.fp,
        lr: copy.lr,
        bytes: copy.bytes.to_vec(),
    }
}
