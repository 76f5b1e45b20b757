//! The suspended tasks of a program that uses asyncio, read from its memory by way of the tracer, and named. One that
//! goes on meanwhile is left out.

use std::collections::HashMap;

use rustix::fd::OwnedFd;

use super::managed::{fetch, learnt};
use super::serve::Known;
use crate::model::runtime::Runtimes;
use crate::symbolize::runtimes::memory::{MAX_PAGES_OF_GOROUTINES, Memory};
use crate::symbolize::tasks::{MAX_STACKS, SuspendedTask, Tasks};

/// `None` when it is no program in Python, or does not use asyncio.
pub(super) fn read(socket: &OwnedFd, known: &Known, runtimes: Runtimes) -> Option<Tasks> {
    let mut fetch_first = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch_first).with_room(MAX_PAGES_OF_GOROUTINES / 2);
    let python = learnt(known, runtimes, &mut memory)?.python()?;
    let (found, mut all) = python.tasks(&mut memory)?;
    let mut numbers = HashMap::new();
    let mut stacks = Vec::new();
    let mut places = Vec::new();
    for task in &found {
        let number = numbers.get(&task.chain).copied().or_else(|| {
            let number = stacks.len();
            let frames = python.name(&mut memory, &task.chain);
            let whole = frames.len() == task.chain.len() && number < MAX_STACKS;
            whole.then(|| {
                stacks.push(frames);
                numbers.insert(task.chain.clone(), number);
                number
            })
        });
        places.push(number);
    }
    drop(memory);
    let mut fetch_again = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
    let mut memory = Memory::new(&mut fetch_again).with_room(MAX_PAGES_OF_GOROUTINES / 4);
    let unchanged = python.are_unchanged(&mut memory, &found);
    let mut tasks = Vec::new();
    for ((task, stack), unchanged) in found.into_iter().zip(places).zip(unchanged) {
        match stack.filter(|_| unchanged) {
            Some(stack) => tasks.push(SuspendedTask {
                id: task.at,
                name: task.name,
                stack: stack as u32,
                holds: task.holds,
            }),
            None => all = false,
        }
    }
    Some(Tasks {
        tasks,
        stacks,
        all,
        are_virtual_threads: false,
    })
}
