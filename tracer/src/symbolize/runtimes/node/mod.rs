//! Node.js 18 to 24: the listeners of its sockets, and the functions that the kernel program has noted, from the objects of
//! V8 in the memory of the process. Nothing is asked of the program and nothing stops it; so everything is read twice, and
//! what is not the same is not told.

mod anchor;
mod event_loop;
mod function;
mod heap;
mod layout;
mod note;
mod socket;
mod text;
mod walk;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::memory::Memory;
use crate::model::listeners::{Heard, WhyUnheard};
use crate::symbolize::code::{Code, CodeIndex};
use crate::symbolize::image::Image;
use crate::symbolize::open::FileId;
use function::Sources;
use heap::Heap;
use layout::Layout;

/// A file with V8 in it is larger, and others need not be searched for its constants.
const LEAST_SIZE: u64 = 16 << 20;

/// Where the runtime of one process keeps its sockets.
pub(in crate::symbolize) struct Node {
    /// The file whose code V8 is.
    image: Arc<Image>,
    layout: Layout,
    /// In which the main event loop lies.
    variables: Vec<Range<u64>>,
}

impl Node {
    /// `None` when the process is no Node.js, or one whose objects are not known.
    pub(super) fn learn(code: &CodeIndex, memory: &mut Memory<'_>) -> Option<Self> {
        let (image, layout) = files(code).find_map(|(image, bias)| {
            let large = image.file.metadata();
            let large = large.is_ok_and(|file| file.len() >= LEAST_SIZE);
            let layout = large.then(|| Layout::of(&image.file, bias, memory));
            Some((image, layout.flatten()?))
        })?;
        let variables =
            files(code).flat_map(|(image, bias)| event_loop::variables(&image.file, bias));
        Some(Self {
            image: Arc::clone(image),
            layout,
            variables: variables.collect(),
        })
    }

    /// The file whose code ends the native frames of calls from JavaScript.
    pub(super) fn noted_image(&self) -> Option<FileId> {
        self.left().map(|_| self.image.id)
    }

    /// From an isolate to where it notes how JavaScript was left. Looked for when it is first wanted, for that takes some time.
    fn left(&self) -> Option<u64> {
        self.layout
            .frames
            .then(|| anchor::place(&self.image))
            .flatten()
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
fn files(code: &CodeIndex) -> impl Iterator<Item = (&Arc<Image>, u64)> {
    let mut seen = Vec::new();
    code.iter().filter_map(move |code: &Code| {
        let (image, bias) = (code.image.as_ref()?, code.bias?);
        (!seen.contains(&image.id)).then(|| {
            seen.push(image.id);
            (image, bias)
        })
    })
}

#[cfg(test)]
mod tests;
