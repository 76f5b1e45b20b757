//! One helper from its start on: what it was told already, and the conversation about one stack.
//! Knows how long to wait, and says who is to blame when that was not enough.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde_bytes::ByteBuf;

use super::about::about;
use super::suspects::Suspect;
use super::{Launch, Peer};
use crate::channel::{self, Broken};
use crate::model::runtime::Runtimes;
use crate::symbolize::StackCopy;
use crate::symbolize::files::Held;
use crate::symbolize::jit::{MAX_LISTS, PerfMapFile};
use crate::symbolize::message::{
    Answer, Copy, Key, MAX_ANSWER, Named, OwnNoted, Request, Rules, SandboxLayer,
};
use crate::symbolize::open::{self, FileId};
use crate::symbolize::process::Process;
use crate::symbolize::remote::Remote;
use crate::symbolize::warning::Warning;

/// To start on a busy machine.
const STARTED: Duration = Duration::from_secs(5);
/// To unwind one stack, or to look up the names in one file.
const ANSWER: Duration = Duration::from_secs(2);
/// To read the unwind tables of a file, or its names for the first time: 1 GiB of debug
/// information takes some seconds. And to find a language runtime, for which 100 MB of its code are looked through.
const LOAD: Duration = Duration::from_secs(10);
/// For all of it, however many files take part.
const WHOLE: Duration = Duration::from_secs(20);

pub(super) struct Running {
    pub runtimes: Runtimes,
    pub peer: Box<dyn Peer>,
    socket: OwnedFd,
    ready: bool,
    pub files: HashSet<Key>,
    /// With the version that was sent.
    pub processes: HashMap<u32, u64>,
    /// Of these it has asked for memory.
    pub asked_for_memory: HashSet<u32>,
    /// Processes whose runtime's names were sent, with the number of the list; oldest first.
    lists: VecDeque<(u32, u64)>,
    /// To be said with the next request.
    pub later: Vec<Request>,
    pub evicted_names: u64,
}

/// Why there is no answer, and what was going on.
pub(super) struct Failure {
    pub broken: Broken,
    pub suspect: Option<Suspect>,
    pub doing: String,
}

impl Running {
    pub(super) fn start(launch: &mut Launch, runtimes: Runtimes) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(Self {
            runtimes,
            peer: launch(theirs)?,
            socket,
            ready: false,
            files: HashSet::new(),
            processes: HashMap::new(),
            asked_for_memory: HashSet::new(),
            lists: VecDeque::new(),
            later: Vec::new(),
            evicted_names: 0,
        })
    }

    /// It is another user by now, whom this process may have no right to signal; but it ends when nobody talks to it
    /// any more.
    pub(super) fn end(mut self) {
        drop(self.socket);
        self.peer.end();
    }

    pub(super) fn name(
        &mut self,
        process: &Process,
        perf_map_file: Option<&PerfMapFile>,
        copy: &StackCopy<'_>,
        number: u64,
        refused: &dyn Fn(FileId) -> bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Named, Failure> {
        let whole = Instant::now() + WHOLE;
        self.introduce(process, whole, refused, warnings)?;
        let stacks = |broken| stacks_of(process, broken);
        let patience = if self
            .send_list(process.pid, perf_map_file, whole)
            .map_err(stacks)?
        {
            LOAD
        } else {
            ANSWER
        };
        let request = Request::Name(owned(copy, number, self.runtimes));
        self.send(&request, None, whole).map_err(stacks)?;
        let patience = (patience, whole);
        match self.answer(process, number, request.pages(), patience)? {
            Answer::Named(named) => Ok(named),
            _ => Err(stacks_of(process, Broken::Malformed)),
        }
    }

    /// The answer to a request about the process's memory.
    pub(super) fn ask_of_memory(
        &mut self,
        process: &Process,
        request: &Request,
        number: u64,
        refused: &dyn Fn(FileId) -> bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<Answer, Failure> {
        let whole = Instant::now() + WHOLE;
        self.introduce(process, whole, refused, warnings)?;
        self.send(request, None, whole)
            .map_err(|broken| stacks_of(process, broken))?;
        let patience = match request {
            Request::Runtime(_) => LOAD,
            _ => ANSWER,
        };
        self.answer(process, number, request.pages(), (patience, whole))
    }

    /// Makes the helper know the process and its files as they are now.
    fn introduce(
        &mut self,
        process: &Process,
        whole: Instant,
        refused: &dyn Fn(FileId) -> bool,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), Failure> {
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
                self.load(process.pid, held, whole)
                    .map_err(|broken| Failure {
                        broken,
                        suspect: Some(Suspect::File(held.id)),
                        doing: format!("reading {module}"),
                    })?;
            }
        }
        if self.processes.get(&process.pid) != Some(&process.version) {
            let request = about(process, refused);
            self.send(&request, None, whole)
                .map_err(|broken| stacks_of(process, broken))?;
            self.processes.insert(process.pid, process.version);
        }
        Ok(())
    }

    fn become_ready(&mut self, warnings: &mut Vec<Warning>) -> Result<(), Broken> {
        let Answer::Ready { without } = self.receive(Instant::now() + STARTED)? else {
            return Err(Broken::Malformed);
        };
        self.ready = true;
        let missing: Vec<&str> = without.into_iter().map(SandboxLayer::name).collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            warnings.push(Warning::ConfinedLess { missing });
        }
        Ok(())
    }

    fn load(&mut self, pid: u32, held: &Held, whole: Instant) -> Result<(), Broken> {
        let key = held.key;
        let request = Request::File { key, id: held.id };
        self.send(&request, Some(held.file.as_fd()), whole)?;
        let until = whole.min(Instant::now() + LOAD);
        let outcome = match self.receive(until)? {
            Answer::Loaded { key: of, outcome } if of == key => outcome,
            _ => return Err(Broken::Malformed),
        };
        self.files.insert(key);
        if let Ok(Some(build_id)) = &outcome {
            for file in open::debug_files(pid, build_id) {
                let request = Request::DebugFile { of: key };
                self.send(&request, Some(file.as_fd()), whole)?;
            }
        }
        // The first answer stays: a file does not change under one identity.
        let _ = held.loaded.set(outcome);
        Ok(())
    }

    /// Makes the helper know this list of the process, or none. True when it has to be read first.
    fn send_list(
        &mut self,
        pid: u32,
        perf_map_file: Option<&PerfMapFile>,
        whole: Instant,
    ) -> Result<bool, Broken> {
        let known = self.lists.iter().position(|(of, _)| *of == pid);
        let sent = known.and_then(|place| self.lists.get(place));
        if sent.map(|(_, number)| *number)
            == perf_map_file.map(|perf_map_file| perf_map_file.number)
        {
            return Ok(false);
        }
        known.and_then(|place| self.lists.remove(place));
        let Some(perf_map_file) = perf_map_file else {
            self.send(&Request::DropJitNames { pid }, None, whole)?;
            return Ok(false);
        };
        if self.lists.len() >= MAX_LISTS
            && let Some((pid, _)) = self.lists.pop_front()
        {
            self.send(&Request::DropJitNames { pid }, None, whole)?;
        }
        let descriptor = Some(perf_map_file.file.as_fd());
        self.send(&Request::JitNames { pid }, descriptor, whole)?;
        self.lists.push_back((pid, perf_map_file.number));
        Ok(true)
    }

    /// Waits for the last word about this request, and reads the memory that is asked for until then.
    fn answer(
        &mut self,
        process: &Process,
        number: u64,
        most: usize,
        (patience, whole): (Duration, Instant),
    ) -> Result<Answer, Failure> {
        let mut remote = OnceCell::new();
        let mut suspect = Suspect::Stacks(process.pid, process.start);
        let mut doing = format!("unwinding a stack of process {}", process.pid);
        let mut until = whole.min(Instant::now() + patience);
        loop {
            let answer = self.receive(until).and_then(|answer| match answer {
                Answer::Named(Named { number: of, .. })
                | Answer::Runtime { number: of, .. }
                | Answer::Functions { number: of, .. }
                | Answer::Goroutines { number: of, .. }
                | Answer::Tasks { number: of, .. }
                | Answer::Listeners { number: of, .. }
                | Answer::Rules(Rules { number: of, .. })
                    if of != number =>
                {
                    Err(Broken::Malformed)
                }
                Answer::Need { pages } => {
                    self.asked_for_memory.insert(process.pid);
                    remote.get_or_init(|| Remote::open(process.pid, process.start, most));
                    let memory = remote.get_mut().and_then(Option::as_mut);
                    self.send_memory(memory, &pages, whole)?;
                    Ok(Answer::Need { pages })
                }
                Answer::Ready { .. } | Answer::Loaded { .. } => Err(Broken::Malformed),
                _ => Ok(answer),
            });
            match answer {
                Ok(Answer::Need { .. }) => until = whole.min(Instant::now() + patience),
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
                Ok(last) => return Ok(last),
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

    /// What cannot be read now is said to be unreadable; who asks beyond all bounds is broken.
    fn send_memory(
        &self,
        remote: Option<&mut Remote>,
        pages: &[u64],
        until: Instant,
    ) -> Result<(), Broken> {
        let pages = match remote {
            Some(remote) => remote.read(pages).ok_or(Broken::Malformed)?,
            None => vec![None; pages.len()],
        };
        let bytes = |page: Option<Vec<u8>>| page.map(ByteBuf::from);
        let pages = pages.into_iter().map(bytes).collect();
        self.send(&Request::Memory { pages }, None, until)
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

pub(super) fn stacks_of(process: &Process, broken: Broken) -> Failure {
    Failure {
        broken,
        suspect: Some(Suspect::Stacks(process.pid, process.start)),
        doing: format!("unwinding a stack of process {}", process.pid),
    }
}

pub(super) fn owned(copy: &StackCopy<'_>, number: u64, runtimes: Runtimes) -> Copy {
    Copy {
        number,
        pid: copy.pid,
        pc: copy.pc,
        sp: copy.sp,
        fp: copy.fp,
        lr: copy.lr,
        thread: copy.thread,
        first_thread: copy.first_thread,
        runtimes,
        noted: OwnNoted::of(copy.noted),
        bytes: copy.bytes.to_vec(),
        walked: copy.walked.to_vec(),
        sure: copy.sure,
    }
}
