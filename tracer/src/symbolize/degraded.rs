//! What can be said of a stack without a look into any file: where its innermost frame is.

use super::process::{Process, Source};
use crate::model::stack::{Frame, Stack};

/// `pc` by module and offset in the file, as the list of mappings has it.
pub(super) fn innermost(process: &Process, pc: u64) -> Stack {
    let Some((mapping, source)) = process.at(pc) else {
        return only_address(pc);
    };
    let read = match source {
        Source::File(held) => held.loaded.get().cloned().and_then(Result::ok).flatten(),
        _ => None,
    };
    let build_id = mapping.build_id.clone().or(read);
    let offset = match source {
        Source::Nothing => pc,
        Source::Memory(_) => pc.wrapping_sub(mapping.range.start),
        Source::File(_) | Source::Problem(_) => {
            let inside = pc.wrapping_sub(mapping.range.start);
            inside.wrapping_add(mapping.offset)
        }
    };
    alone(Frame {
        module: Some(mapping.name.clone()),
        offset,
        build_id,
        ..Frame::default()
    })
}

/// All that can be said without the process: an address that no module explains.
pub(super) fn only_address(pc: u64) -> Stack {
    alone(Frame {
        offset: pc,
        ..Frame::default()
    })
}

fn alone(frame: Frame) -> Stack {
    Stack {
        frames: vec![frame],
        truncated: true,
        one_of_several: false,
        of_end: false,
        kind: None,
        thread: None,
        pid: None,
        frames_at: Vec::new(),
    }
}
