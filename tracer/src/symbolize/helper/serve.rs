//! Takes requests, one after the other, and answers them. What it is sent decides how much it
//! remembers: the tracer keeps the bounds and says what to drop.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use tracer_common::stack_key::MAX_STEPS;

use super::{goroutines, listeners, managed, tasks, virtual_threads};
use crate::channel::{self, Broken};
use crate::model::stack::Stack;
use crate::symbolize::StackCopy;
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::frames::Naming;
use crate::symbolize::image::Image;
use crate::symbolize::images::Images;
use crate::symbolize::jit;
use crate::symbolize::message::{
    Answer, Content, Copy, Key, MAX_REQUEST, Named, Region, Request, Rules, SandboxLayer, Unusable,
};
use crate::symbolize::open::FileId;
use crate::symbolize::program_end;
use crate::symbolize::request::{AddressRule, Noted, Resolved, RuntimeOf};
use crate::symbolize::row;
use crate::symbolize::runtimes::Runtime;
use crate::symbolize::unwind::CodeWalker;

/// As many frames as the kernel program leaves, and the one it comes to.
const MAX_RULES: usize = MAX_STEPS as usize + 1;

struct Server {
    socket: Rc<OwnedFd>,
    images: Images,
    processes: HashMap<u32, Known>,
    jit: HashMap<u32, jit::Names>,
}

pub(super) struct Known {
    pub walker: CodeWalker,
    /// Once it was looked for.
    pub runtime: OnceCell<Option<Runtime>>,
}

impl Known {
    /// Functions of its runtime are told without its help.
    fn is_noted(&self) -> bool {
        let runtime = self.runtime();
        runtime.is_some_and(|runtime| runtime.noted_image().is_some())
    }

    fn runtime(&self) -> Option<&Runtime> {
        self.runtime.get().and_then(Option::as_ref)
    }
}

/// Ends when the tracer closes its side.
pub(in crate::symbolize) fn serve(
    socket: OwnedFd,
    without: Vec<SandboxLayer>,
) -> Result<(), Broken> {
    let socket = Rc::new(socket);
    let teller = Rc::clone(&socket);
    // When this cannot be told, the answer cannot be given either.
    let tell = move |id, first| {
        let _ = channel::send(teller.as_fd(), &Answer::Reading { id, first }, None, None);
    };
    let mut server = Server {
        images: Images::new(Box::new(tell)),
        socket,
        processes: HashMap::new(),
        jit: HashMap::new(),
    };
    server.answer(&Answer::Ready { without })?;
    loop {
        match channel::receive(server.socket.as_fd(), MAX_REQUEST, None) {
            Ok((request, descriptor)) => server.handle(request, descriptor)?,
            Err(Broken::Closed) => return Ok(()),
            Err(broken) => return Err(broken),
        }
    }
}

impl Server {
    fn answer(&self, answer: &Answer) -> Result<(), Broken> {
        channel::send(self.socket.as_fd(), answer, None, None)
    }

    fn handle(&mut self, request: Request, descriptor: Option<OwnedFd>) -> Result<(), Broken> {
        let file = || descriptor.map(File::from).ok_or(Broken::Malformed);
        match request {
            Request::File { key, id } => {
                let answer = self.load(key, file()?, id);
                self.answer(&answer)?;
            }
            Request::DebugFile { of } => self.images.add_debug_file(of, file()?),
            Request::Drop { key } => self.images.drop(key),
            Request::Process { pid, regions } => {
                let code = regions
                    .into_iter()
                    .map(|region| self.code(region))
                    .collect();
                let walker = CodeWalker::new(CodeIndex::new(code));
                self.processes.insert(
                    pid,
                    Known {
                        walker,
                        runtime: OnceCell::new(),
                    },
                );
            }
            Request::Forget { pid } => {
                self.processes.remove(&pid);
            }
            Request::JitNames { pid } => {
                self.jit.insert(pid, jit::Names::read(&file()?));
            }
            Request::DropJitNames { pid } => {
                self.jit.remove(&pid);
            }
            // Only while a stack is named.
            Request::Memory { .. } => return Err(Broken::Malformed),
            Request::Name(copy) => {
                let named = self.name(&copy);
                self.answer(&Answer::Named(named))?;
            }
            Request::Rules(copy) => {
                let rules = self.rules(&copy);
                self.answer(&Answer::Rules(rules))?;
            }
            Request::Runtime(copy) => {
                let number = copy.number;
                let known = self.processes.get(&copy.pid);
                let found = known.map_or(RuntimeOf::NotYet, |known| {
                    managed::runtime(&self.socket, known, &copy)
                });
                self.answer(&Answer::Runtime { number, found })?;
            }
            Request::Functions(copy) => {
                let number = copy.number;
                let known = self.processes.get(&copy.pid);
                let told = known.and_then(|known| managed::named(&self.socket, known, &copy));
                self.answer(&Answer::Functions { number, told })?;
            }
            Request::Goroutines {
                number,
                pid,
                runtimes,
                threads,
                asked,
            } => {
                let known = self.processes.get(&pid);
                let asked = goroutines::Asked {
                    pid,
                    runtimes,
                    threads: &threads,
                    first: &asked,
                };
                let found = known.and_then(|known| {
                    goroutines::read(&self.socket, known, &mut self.images, &asked)
                });
                self.answer(&Answer::Goroutines { number, found })?;
            }
            Request::Tasks {
                number,
                pid,
                runtimes,
            } => {
                let known = self.processes.get(&pid);
                let found = known.and_then(|known| {
                    tasks::read(&self.socket, known, runtimes)
                        .or_else(|| virtual_threads::read(&self.socket, known, runtimes))
                });
                self.answer(&Answer::Tasks { number, found })?;
            }
            Request::Listeners {
                number,
                pid,
                runtimes,
                descriptors,
            } => {
                let known = self.processes.get(&pid);
                let found = known
                    .and_then(|known| listeners::read(&self.socket, known, runtimes, &descriptors));
                self.answer(&Answer::Listeners { number, found })?;
            }
        }
        Ok(())
    }

    fn load(&mut self, key: Key, file: File, id: FileId) -> Answer {
        if FileId::of(&file) != Ok(id) {
            let outcome = Err(Unusable::Changed);
            return Answer::Loaded { key, outcome };
        }
        let outcome = match Image::parse(file, id) {
            Ok(image) => {
                let build_id = image.build_id.clone();
                self.images.add(key, Arc::new(image));
                Ok(build_id)
            }
            Err(reason) => Err(Unusable::Because(reason.to_owned())),
        };
        Answer::Loaded { key, outcome }
    }

    fn code(&mut self, region: Region) -> Code {
        let Region { mapping, content } = region;
        match content {
            Content::Nothing => Code::new(mapping, None),
            Content::File(key) => Code::new(mapping, self.images.file(key)),
            Content::Memory(bytes) => {
                let image = self.images.memory(bytes).ok();
                Code::new(mapping, image)
            }
            Content::Problem(problem) => Code {
                problem: Some(problem),
                ..Code::new(mapping, None)
            },
        }
    }

    fn rules(&mut self, copy: &Copy) -> Rules {
        let mut answer = Rules {
            number: copy.number,
            of_frames: Vec::new(),
            left_known_code: false,
        };
        let Some(known) = self.processes.get_mut(&copy.pid) else {
            return answer;
        };
        let mut walk = known.walker.walk(&view(copy));
        let walker = &known.walker;
        walk.go_on(&copy.walked, walker.code());
        answer.left_known_code = walk.left_known_code;
        let addresses = walk.addresses.iter().enumerate().take(MAX_RULES);
        // Of what a known runtime has made only the runtime itself tells.
        let is_left_to_runtime = |address: u64| {
            let code = walker.code().find(address);
            known.is_noted() && code.is_some_and(Code::is_jit_code)
        };
        answer.of_frames = addresses
            .filter(|(_, address)| !is_left_to_runtime(address.lookup))
            .map(|(depth, address)| AddressRule {
                address: address.at,
                rule: row::rule(walker.code(), *address, depth > 0).pack(),
            })
            .collect();
        let compiled = managed::rules(&self.socket, known, copy);
        answer.of_frames.extend(compiled);
        answer
    }

    fn name(&mut self, copy: &Copy) -> Named {
        let mut named = Named {
            number: copy.number,
            resolved: Resolved::default(),
            left_known_code: false,
            evicted_names: self.images.evicted_names,
        };
        let Some(known) = self.processes.get_mut(&copy.pid) else {
            return named;
        };
        let mut walk = known.walker.walk(&view(copy));
        walk.go_on(&copy.walked, known.walker.code());
        let present = managed::present(&self.socket, known, copy);
        let functions = managed::named(&self.socket, known, copy);
        let walker = &known.walker;
        let mut warnings = Vec::new();
        let mut naming = Naming {
            pid: copy.pid,
            is_noted: known.is_noted(),
            jit: self.jit.get(&copy.pid),
            code: walker.code(),
            images: &mut self.images,
            warnings: &mut warnings,
        };
        let mut of_several = false;
        let mut left_off = None;
        // Native frames of this one call are exact. They tell enough where the runtime has written a list of what they
        // are, or executes no function of the program any more.
        let exact = copy.sure.is_none();
        let none_told = (functions.as_ref()).is_none_or(|told| told.functions.is_empty());
        let marks = program_end::Marks::of(known.runtime());
        if let Some(managed) = &present {
            walk.end_before(managed.image, walker.code());
        } else if let Some(image) = managed::instead(known, copy)
            && !(exact && functions.is_none() && self.jit.contains_key(&copy.pid))
            && !(exact && none_told && marks.are_in(&naming.frames(&walk, copy.sp).0))
        {
            left_off = walk.end_before(image, walker.code());
            of_several = left_off.is_some() && functions.is_none();
            walk.truncated |= left_off.is_some();
        }
        if let Some(sure) = copy.sure {
            walk.believe(sure, |address| row::counts(walker.code(), address));
        }
        let (mut frames, frames_at) = naming.frames(&walk, copy.sp);
        let of_end = none_told && present.is_none() && marks.are_in(&frames);
        if functions.is_some() {
            frames.extend(left_off.and_then(|calls| naming.collector(&calls)));
        }
        if let Some(managed) = present {
            walk.truncated = managed.truncated;
            frames.extend(managed.frames);
        }
        named.resolved = Resolved {
            stack: Stack {
                frames,
                truncated: walk.truncated,
                one_of_several: of_several,
                of_end,
                kind: None,
                thread: None,
                pid: None,
                frames_at,
            },
            functions,
            warnings,
            failed: false,
        };
        named.left_known_code = walk.left_known_code;
        named.evicted_names = self.images.evicted_names;
        named
    }
}

fn view(copy: &Copy) -> StackCopy<'_> {
    StackCopy {
        pid: copy.pid,
        start_boot_ns: 0,
        pc: copy.pc,
        sp: copy.sp,
        fp: copy.fp,
        lr: copy.lr,
        thread: copy.thread,
        first_thread: copy.first_thread,
        noted: Noted::Nothing,
        bytes: &copy.bytes,
        walked: &copy.walked,
        sure: copy.sure,
    }
}
