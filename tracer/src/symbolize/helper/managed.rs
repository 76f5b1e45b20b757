//! What a process's language runtime executes, read from its memory by way of the tracer: of a thread that waits, and
//! of functions that the kernel program has noted.

use std::os::fd::AsFd;

use rustix::fd::OwnedFd;

use super::serve::Known;
use crate::channel;
use crate::model::runtime::Runtimes;
use crate::model::stack::Frame;
use crate::symbolize::message::{Answer, Copy, MAX_REQUEST, OwnNoted, Request};
use crate::symbolize::open::FileId;
use crate::symbolize::request::RuntimeOf;
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::runtimes::{Managed, Runtime};

/// What a thread that does not run executes.
pub(super) fn present(socket: &OwnedFd, known: &Known, copy: &Copy) -> Option<Managed> {
    if copy.thread == 0 {
        return None;
    }
    let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch);
    learnt(known, copy.runtimes, &mut memory)?.present(&mut memory, copy.thread)
}

/// What the noted functions are called; `None` where none were, or the process's memory is gone.
pub(super) fn named(socket: &OwnedFd, known: &Known, copy: &Copy) -> Option<Vec<Frame>> {
    let OwnNoted::Functions { functions, .. } = &copy.noted else {
        return None;
    };
    let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch);
    let frames = learnt(known, copy.runtimes, &mut memory)?.noted(&mut memory, functions)?;
    (frames.len() == functions.len() || !memory.was_refused()).then_some(frames)
}

/// Whether the native frames end where the runtime's code begins: its functions are told instead, or nobody has noted
/// them, and then nobody knows which they were.
pub(super) fn instead(known: &Known, copy: &Copy) -> Option<FileId> {
    let runtime = known.runtime.get()?.as_ref()?;
    match copy.noted {
        OwnNoted::Functions { .. } => runtime.noted_image(),
        OwnNoted::Nothing if copy.thread == 0 => runtime.noted_image(),
        _ => None,
    }
}

/// How the kernel program is to note what threads of the process execute.
pub(super) fn runtime(socket: &OwnedFd, known: &Known, copy: &Copy) -> RuntimeOf {
    let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch);
    match learnt(known, copy.runtimes, &mut memory) {
        Some(runtime) => runtime.to_note(known.walker.code(), &mut memory),
        None if memory.was_refused() => RuntimeOf::NotYet,
        None => RuntimeOf::Nobody,
    }
}

pub(super) fn learnt<'k>(
    known: &'k Known,
    wanted: Runtimes,
    memory: &mut Memory<'_>,
) -> Option<&'k Runtime> {
    if wanted == Runtimes::NONE {
        return None;
    }
    if known.runtime.get().is_none() {
        let learnt = Runtime::learn(known.walker.code(), memory, wanted);
        // What could not be read now may be read another time.
        if learnt.is_some() || !memory.was_refused() {
            let _ = known.runtime.set(learnt);
        }
    }
    known.runtime.get()?.as_ref()
}

/// When this cannot be asked, the answer cannot be given either.
pub(super) fn fetch(socket: &OwnedFd, pages: &[u64]) -> Option<Vec<Option<Vec<u8>>>> {
    let pages = pages.to_vec();
    channel::send(socket.as_fd(), &Answer::Need { pages }, None, None).ok()?;
    match channel::receive(socket.as_fd(), MAX_REQUEST, None).ok()? {
        (Request::Memory { pages }, _) => Some(pages),
        _ => None,
    }
}
