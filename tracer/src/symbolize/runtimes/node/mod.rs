//! Node.js 18 to 24: the listeners of its sockets, from the objects of V8 in the memory of the process. Nothing is
//! asked of the program and nothing stops it; so everything is read twice, and what is not the same is not told.

mod event_loop;
mod function;
mod heap;
mod layout;
mod socket;
mod text;

use std::collections::HashMap;
use std::ops::Range;

use super::memory::Memory;
use crate::model::listeners::{Heard, WhyUnheard};
use crate::symbolize::code::{Code, CodeIndex};
use function::Sources;
use heap::Heap;
use layout::Layout;

/// A file with V8 in it is larger, and others need not be searched for its constants.
const LEAST_SIZE: u64 = 16 << 20;

/// Where the runtime of one process keeps its sockets.
pub(in crate::symbolize) struct Node {
    layout: Layout,
    /// In which the main event loop lies.
    variables: Vec<Range<u64>>,
}

impl Node {
    /// `None` when the process is no Node.js, or one whose objects are not known.
    pub(super) fn learn(code: &CodeIndex, memory: &mut Memory<'_>) -> Option<Self> {
        let layout = files(code).find_map(|(image, bias)| {
            let large = image.metadata().is_ok_and(|file| file.len() >= LEAST_SIZE);
            large.then(|| Layout::of(image, bias, memory)).flatten()
        })?;
        let variables = files(code).flat_map(|(image, bias)| event_loop::variables(image, bias));
        Some(Self {
            layout,
            variables: variables.collect(),
        })
    }

    /// Of the sockets with these descriptors, in their order.
    pub(in crate::symbolize) fn listeners(
        &self,
        memory: &mut Memory<'_>,
        descriptors: &[i32],
    ) -> Vec<Heard> {
        let mut handles = HashMap::new();
        let mut all = true;
        for range in &self.variables {
            for one in event_loop::find(memory, range.clone()) {
                all &= event_loop::handles(memory, one, &mut handles);
            }
        }
        let asked = descriptors.iter().filter_map(|fd| *handles.get(fd)?);
        socket::fetch(memory, &self.layout, asked.collect());
        let mut heap = Heap::new(memory, &self.layout);
        let mut sources = Sources::default();
        let look = |descriptor: &i32| match handles.get(descriptor) {
            None if all => Heard::Unknown(WhyUnheard::NoHandle),
            None => Heard::Unknown(WhyUnheard::TooMany),
            Some(None) => Heard::Unknown(WhyUnheard::Unproven),
            Some(Some(handle)) => match socket::listeners(&mut heap, *handle, &mut sources) {
                Some(found) => Heard::By(found),
                None if heap.is_exhausted() || heap.memory.is_full() => {
                    Heard::Unknown(WhyUnheard::TooMany)
                }
                None => Heard::Unknown(WhyUnheard::Unproven),
            },
        };
        descriptors.iter().map(look).collect()
    }
}

/// Each once.
fn files(code: &CodeIndex) -> impl Iterator<Item = (&std::fs::File, u64)> {
    let mut seen = Vec::new();
    code.iter().filter_map(move |code: &Code| {
        let (image, bias) = (code.image.as_deref()?, code.bias?);
        (!seen.contains(&image.id)).then(|| {
            seen.push(image.id);
            (&image.file, bias)
        })
    })
}

#[cfg(test)]
mod tests;
