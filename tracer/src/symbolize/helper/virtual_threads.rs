//! The virtual threads of a program in Java that wait, read from its memory by way of the tracer, and named. One that
//! goes on meanwhile is left out.

use rustix::fd::OwnedFd;

use super::managed::{fetch, learnt};
use super::serve::Known;
use crate::model::runtime::Runtimes;
use crate::symbolize::runtimes::memory::{MAX_PAGES_OF_GOROUTINES, Memory};
use crate::symbolize::tasks::{MAX_FRAMES, MAX_STACKS, SuspendedTask, Tasks};

/// `None` when it is no program in Java, or has none.
pub(super) fn read(socket: &OwnedFd, known: &Known, runtimes: Runtimes) -> Option<Tasks> {
    let mut fetch_first = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch_first).with_room(MAX_PAGES_OF_GOROUTINES / 2);
    let java = learnt(known, runtimes, &mut memory)?.java()?;
    let look = java.waiting_virtual_threads(&mut memory)?;
    drop(memory);
    let mut fetch_again = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch_again).with_room(MAX_PAGES_OF_GOROUTINES / 4);
    let still = java.still_wait(&mut memory, &look);
    let told = look.waiting.iter().zip(still);
    let told = told.filter(|(one, still)| *still && one.stack < MAX_STACKS);
    let tasks: Vec<SuspendedTask> = told
        .map(|(one, _)| SuspendedTask {
            id: one.id,
            name: one.id.to_string(),
            stack: one.stack as u32,
            holds: Vec::new(),
        })
        .collect();
    let all = look.all && tasks.len() == look.waiting.len();
    let mut stacks = look.stacks;
    stacks.truncate(MAX_STACKS);
    for stack in &mut stacks {
        stack.truncate(MAX_FRAMES);
    }
    Some(Tasks {
        tasks,
        stacks,
        all,
        are_virtual_threads: true,
    })
}
