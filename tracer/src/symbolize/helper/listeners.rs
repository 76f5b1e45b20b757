//! Who listens to the sockets of a Node.js program, read from its memory by way of the tracer. The program goes on
//! meanwhile and may move its objects: what is not the same a second time is not told.

use rustix::fd::OwnedFd;

use super::managed::{fetch, learnt};
use super::serve::Known;
use crate::model::listeners::{Heard, WhyUnheard};
use crate::model::runtime::Runtimes;
use crate::symbolize::listeners::Listening;
use crate::symbolize::runtimes::memory::{MAX_PAGES_OF_GOROUTINES, MAX_ROUNDS, Memory};

/// `None` when it is no program for Node.js.
pub(super) fn read(
    socket: &OwnedFd,
    known: &Known,
    runtimes: Runtimes,
    descriptors: &[i32],
) -> Option<Listening> {
    let once = || {
        let mut fetch = |pages: &[u64]| fetch(socket, pages).unwrap_or_default();
        let mut memory = Memory::new(&mut fetch)
            .with_room(MAX_PAGES_OF_GOROUTINES / 2)
            .with_rounds(MAX_ROUNDS / 2);
        let node = learnt(known, runtimes, &mut memory)?.node()?;
        Some(node.listeners(&mut memory, descriptors))
    };
    let (first, second) = (once()?, once()?);
    let told = first.into_iter().zip(second).map(|(first, second)| {
        if first == second {
            first
        } else {
            Heard::Unknown(WhyUnheard::Moved)
        }
    });
    Some(Listening::of(told.collect()))
}
