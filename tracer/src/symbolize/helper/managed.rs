//! What a process's language runtime executes, read from its memory by way of the tracer: of a thread that waits, and
//! of functions that the kernel program has noted.

use std::os::fd::AsFd;

use rustix::fd::OwnedFd;
use serde_bytes::ByteBuf;

use super::serve::Known;
use crate::channel;
use crate::model::runtime::Runtimes;
use crate::symbolize::message::{Answer, Copy, MAX_REQUEST, OwnNoted, Request};
use crate::symbolize::open::FileId;
use crate::symbolize::request::{AddressRule, Functions, RuntimeOf};
use crate::symbolize::runtimes::memory::Memory;
use crate::symbolize::runtimes::{CopiedStack, Managed, Runtime};

/// What a thread that does not run executes.
pub(super) fn present(socket: &OwnedFd, known: &Known, copy: &Copy) -> Option<Managed> {
    if copy.thread == 0 {
        return None;
    }
    let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch);
    learnt(known, copy.runtimes, &mut memory)?.present(&mut memory, copy.thread, copy.first_thread)
}

/// What the noted functions are called; `None` where none were, or the process's memory is gone.
pub(super) fn named(socket: &OwnedFd, known: &Known, copy: &Copy) -> Option<Functions> {
    if !copy.noted.is_some() {
        return None;
    }
    let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch);
    let runtime = learnt(known, copy.runtimes, &mut memory)?;
    let told = match &copy.noted {
        OwnNoted::Functions { functions, deeper } => {
            runtime.noted(&mut memory, functions, !deeper)?
        }
        OwnNoted::Sampled { functions, deeper } => {
            runtime.sampled(&mut memory, functions, !deeper)?
        }
        OwnNoted::Cut { from, .. } => runtime.copied(&mut memory, *from, stack(copy))?,
        OwnNoted::Interrupted { from, lately } => {
            runtime.interrupted(&mut memory, *from, stack(copy), *lately)?
        }
        _ => return None,
    };
    (!told.truncated || !memory.was_refused()).then_some(told)
}

/// How the kernel program leaves what the process's runtime has compiled, on the way that it could not follow.
pub(super) fn rules(socket: &OwnedFd, known: &Known, copy: &Copy) -> Vec<AddressRule> {
    let OwnNoted::Cut { from, on_heap } = copy.noted else {
        return Vec::new();
    };
    let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch);
    match learnt(known, copy.runtimes, &mut memory) {
        Some(runtime) => runtime.rules(&mut memory, from, stack(copy), on_heap),
        None => Vec::new(),
    }
}

fn stack(copy: &Copy) -> CopiedStack<'_> {
    CopiedStack {
        sp: copy.sp,
        bytes: &copy.bytes,
    }
}

/// Whether the native frames end where the runtime's code begins: its functions are told instead, or nobody has noted
/// them, and then nobody knows which they were.
pub(super) fn instead(known: &Known, copy: &Copy) -> Option<FileId> {
    let runtime = known.runtime.get()?.as_ref()?;
    match copy.noted {
        OwnNoted::Functions { .. } | OwnNoted::Sampled { .. } | OwnNoted::Cut { .. } => {
            runtime.noted_image()
        }
        OwnNoted::Nothing if copy.thread == 0 => runtime.unnoted_image(),
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
        (Request::Memory { pages }, _) => {
            let bytes = |page: Option<ByteBuf>| page.map(ByteBuf::into_vec);
            Some(pages.into_iter().map(bytes).collect())
        }
        _ => None,
    }
}
