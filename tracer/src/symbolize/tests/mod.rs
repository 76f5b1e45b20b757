//! Real programs, blocked in a real system call, seen the way the kernel hook sees them.
// They know system call numbers and register names.
#![cfg(target_arch = "x86_64")]

mod asyncio;
mod golang;
mod goroutines;
mod hostile;
mod identity;
mod java;
mod languages;
mod libcs;
mod made;
mod native;
mod node;
mod node_frames;
mod php;
mod program;
mod python;
mod ruby;
mod tableless;

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};

use super::Resolved;
use super::helper::serve;
use super::link::{Link, Peer};
use crate::model::stack::Frame;

/// With a helper in a thread of the test, which has no `main` of its own to be started again. The
/// helper as a process is tested in `tracer/tests/helper`.
struct Symbolizer(super::Symbolizer);

impl Symbolizer {
    fn new() -> Self {
        let launch = |socket: OwnedFd| {
            let ours = socket.as_fd().try_clone_to_owned()?;
            std::thread::spawn(move || serve(socket, Vec::new()));
            Ok(Box::new(Thread(ours)) as Box<dyn Peer>)
        };
        Self(super::Symbolizer::with_link(Link::new(Box::new(launch))))
    }
}

impl Deref for Symbolizer {
    type Target = super::Symbolizer;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Symbolizer {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

struct Thread(OwnedFd);

impl Peer for Thread {
    fn id(&self) -> Option<u32> {
        None
    }

    fn spent(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }

    fn has_ended(&mut self) -> bool {
        false
    }

    fn end(&mut self) {
        rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both).unwrap();
    }
}

/// Functions that were really called, innermost first; `?` for those without a name.
fn functions(frames: &[Frame]) -> Vec<&str> {
    let names = frames.iter().filter(|frame| !frame.inlined);
    names
        .map(|frame| frame.function.as_deref().unwrap_or("?"))
        .collect()
}

fn named<'a>(resolved: &'a Resolved, function: &str) -> &'a Frame {
    let found = resolved
        .stack
        .frames
        .iter()
        .find(|frame| frame.function.as_deref() == Some(function));
    found.unwrap_or_else(|| panic!("no {function} in {resolved:#?}"))
}

/// Function, file and line of the frames of a language runtime, innermost first.
fn managed(resolved: &Resolved, module: &str) -> Vec<(String, String, u32)> {
    let frames = resolved.stack.frames.iter();
    let frames = frames.filter(|frame| frame.module.as_deref() == Some(module));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    frames
        .map(|frame| {
            let line = frame.line.unwrap_or_default();
            (text(&frame.function), text(&frame.file), line)
        })
        .collect()
}

fn follows(frames: &[Frame], inner: &str, outer: &str) -> bool {
    functions(frames)
        .windows(2)
        .any(|pair| pair == [inner, outer])
}

fn resolve(blocked: &program::Blocked) -> Resolved {
    Symbolizer::new().resolve(&blocked.copy().view())
}
