//! Names of code that exists only in memory, made by a language runtime while it runs. Nobody but
//! the runtime knows them: believes the list it may have written, says what is missing otherwise. The
//! tracer finds and opens the list ([`Offers`]), the helper reads it ([`Names`]).

mod advice;
mod file;
mod list;
mod name;
mod perf_map_file;

use std::fs::File;

use crate::model::stack::Frame;
use list::List;

pub(super) use advice::missing;
pub(super) use name::Meaning;
pub(super) use perf_map_file::{MAX_LISTS, PerfMapFile, PerfMapFiles};

/// Named code that a runtime made.
pub(super) const MODULE: &str = "[jit]";
/// The runtime's own stubs and builtins.
pub(super) const RUNTIME: &str = "[runtime]";
pub(super) const INTERPRETER: &str = "[interpreter]";

/// The list of one process.
#[derive(Default)]
pub(super) struct Names(List);

impl Names {
    /// A list that cannot be read names nothing.
    pub(super) fn read(file: &File) -> Self {
        Self(file::read(file).map_or_else(|_| List::default(), List::parse))
    }

    /// What the runtime calls the code at this address.
    pub(super) fn find(&self, address: u64) -> Option<Meaning> {
        self.0.find(address).map(name::meaning)
    }
}

/// Code that a runtime made and that nothing names.
pub(super) fn is_unnamed(frame: &Frame) -> bool {
    frame.module.as_deref() == Some(MODULE) && frame.function.is_none()
}
