//! The unwinder of one process without the helper around it, for measurements only: it reads program
//! files with the rights of whoever calls it.

use std::sync::Arc;

use super::StackCopy;
use super::code::{Code, CodeIndex};
use super::files::Files;
use super::image::Image;
use super::maps::Mapping;
use super::process::{Process, Source};
use super::unwind::CodeWalker;
use super::warning::Warning;

pub struct Walker(CodeWalker);

impl Walker {
    /// What the process has mapped now.
    pub fn of_process(pid: u32) -> Result<Self, Warning> {
        let mut files = Files::default();
        let process = Process::look(pid, None, 1, &mut files, &mut Vec::new())
            .map_err(|failure| failure.0)?;
        let code = process
            .code
            .into_iter()
            .map(|(mapping, source)| code(mapping, source));
        Ok(Self(CodeWalker::new(CodeIndex::new(code.collect()))))
    }

    /// How many addresses the walk gives.
    pub fn frames(&mut self, copy: &StackCopy<'_>) -> usize {
        self.0.walk(copy).addresses.len()
    }
}

fn code(mapping: Mapping, source: Source) -> Code {
    let image = match source {
        Source::File(held) => {
            let file = held.file.try_clone().ok();
            file.and_then(|file| Image::parse(file, held.id).ok())
        }
        Source::Memory(bytes) => Image::from_memory(&bytes).ok(),
        Source::Nothing | Source::Problem(_) => None,
    };
    Code::new(mapping, image.map(Arc::new))
}
