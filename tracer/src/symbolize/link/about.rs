//! What the helper is told of a process: its executable mappings, and what is behind each.

use crate::symbolize::files::Held;
use crate::symbolize::maps::Mapping;
use crate::symbolize::message::{Content, Region, Request, Unusable};
use crate::symbolize::open::FileId;
use crate::symbolize::process::{Process, Source};
use crate::symbolize::warning::Warning;

pub(super) fn about(process: &Process, refused: &dyn Fn(FileId) -> bool) -> Request {
    let regions = process.code.iter().map(|(mapping, source)| Region {
        mapping: mapping.clone(),
        content: match source {
            Source::Nothing => Content::Nothing,
            Source::Memory(bytes) => Content::Memory(bytes.clone()),
            Source::Problem(problem) => Content::Problem(problem.clone()),
            Source::File(held) => match problem(process.pid, mapping, held, refused) {
                Some(problem) => Content::Problem(problem),
                None => Content::File(held.key),
            },
        },
    });
    Request::Process {
        pid: process.pid,
        regions: regions.collect(),
    }
}

fn problem(
    pid: u32,
    mapping: &Mapping,
    held: &Held,
    refused: &dyn Fn(FileId) -> bool,
) -> Option<Warning> {
    let module = mapping.name.clone();
    if refused(held.id) {
        return Some(Warning::FileRefused { module });
    }
    match held.loaded.get()? {
        Ok(found) if mapping.is_of_build(found.as_deref()) => None,
        Ok(_) | Err(Unusable::Changed) => Some(Warning::FileReplaced { pid, module }),
        Err(Unusable::Because(reason)) => Some(Warning::NotAProgram {
            pid,
            module,
            reason: reason.clone(),
        }),
    }
}
