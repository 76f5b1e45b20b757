//! Turns code addresses into frames of the report, and says why a frame has no name.

use std::slice;

use super::blame;
use super::code::{Code, CodeIndex};
use super::images::Images;
use super::jit::{self, Meaning};
use super::maps::Backing;
use super::names::{Place, Problem};
use super::unwind::{CodeAddress, Walk};
use super::warning::Warning;
use crate::model::stack::{Frame, FrameAddress};

pub(super) struct Naming<'a> {
    pub pid: u32,
    /// What its language runtime executes is told without the runtime's help.
    pub is_noted: bool,
    /// What the process's runtime calls its code.
    pub jit: Option<&'a jit::Names>,
    pub code: &'a CodeIndex,
    pub images: &'a mut Images,
    pub warnings: &'a mut Vec<Warning>,
}

impl Naming<'_> {
    /// The collector of CPython, where it runs below the innermost function of the program: that function did not
    /// ask for what is done.
    pub(super) fn collector(&mut self, calls: &[CodeAddress]) -> Option<Frame> {
        /// What evaluates the functions of the program.
        const EVALUATES: &str = "_PyEval_EvalFrame";
        const COLLECTS: [&str; 5] = [
            "gc_collect_main",
            "gc_collect_generations",
            "gc_collect_region",
            "gc_collect_young",
            "gc_collect_full",
        ];
        for address in calls {
            let mut found = Vec::new();
            if let Some(code) = self.code.find(address.lookup) {
                self.add(code, *address, &mut found);
            }
            for frame in found {
                let name = frame.function.as_deref().unwrap_or_default();
                if name.starts_with(EVALUATES) {
                    return None;
                }
                if COLLECTS.contains(&name) {
                    return Some(frame);
                }
            }
        }
        None
    }

    /// And where they lie, counted from `sp`.
    pub(super) fn frames(&mut self, walk: &Walk, sp: u64) -> (Vec<Frame>, Vec<FrameAddress>) {
        if let Some(code) = walk.searched.and_then(|address| self.code.find(address)) {
            let module = code.mapping.name.clone();
            self.warn(Warning::CallersSearched { module });
        }
        let mut frames = Vec::with_capacity(walk.addresses.len() + 8);
        let mut frames_at = Vec::with_capacity(walk.frames.len());
        let mut places = walk.frames.iter().peekable();
        for (index, address) in walk.addresses.iter().enumerate() {
            let before = frames.len();
            if let Some(code) = self.code.find(address.lookup) {
                self.add(code, *address, &mut frames);
            }
            let place = places.next_if(|place| place.address == index);
            if let Some(place) = place.filter(|_| frames.len() > before) {
                frames_at.push(FrameAddress {
                    frame: (frames.len() - 1) as u32,
                    cfa: place.cfa.wrapping_sub(sp),
                    return_address: place.return_address,
                });
            }
        }
        let modules = self.code.iter().map(|code| code.mapping.name.as_str());
        if !self.is_noted
            && let Some(missing) = jit::missing(self.pid, &frames, modules)
        {
            self.warn(missing);
        }
        (frames, frames_at)
    }

    /// Code that no file holds. Frames of it that have no name become one.
    fn add_jit_code(&mut self, address: CodeAddress, frames: &mut Vec<Frame>) {
        let meaning = self.jit.and_then(|names| names.find(address.lookup));
        let (module, place) = match meaning {
            Some(Meaning::Function(place)) => (jit::MODULE, place),
            Some(Meaning::Runtime(place)) => (jit::RUNTIME, place),
            Some(Meaning::Interpreter) => (jit::INTERPRETER, Place::default()),
            None => (jit::MODULE, Place::default()),
        };
        let again =
            |last: &Frame| last.module.as_deref() == Some(module) && last.function.is_none();
        if place.function.is_none() && frames.last().is_some_and(again) {
            return;
        }
        frames.push(Frame {
            module: Some(module.to_owned()),
            offset: address.at,
            function: place.function,
            file: place.file,
            ..Frame::default()
        });
    }

    fn add(&mut self, code: &Code, address: CodeAddress, frames: &mut Vec<Frame>) {
        if let Some(problem) = &code.problem {
            self.warn(problem.clone());
        }
        if code.mapping.backing == Backing::Anonymous {
            return self.add_jit_code(address, frames);
        }
        let module = &code.mapping.name;
        let (Some(image), Some(bias)) = (&code.image, code.bias) else {
            frames.push(Frame {
                module: Some(module.clone()),
                offset: without_image(code, address.at),
                of_system: code.mapping.of_system,
                ..Frame::default()
            });
            return;
        };
        let bare = Frame {
            module: Some(module.clone()),
            offset: address.at.wrapping_sub(bias),
            build_id: image.build_id.clone(),
            of_system: code.mapping.of_system,
            ..Frame::default()
        };
        let names = self.images.names(image, blame::is_library(module));
        let problem = names.problem;
        let unnamed = Place::default();
        let places = match names.at(image, address.lookup.wrapping_sub(bias)) {
            [] => slice::from_ref(&unnamed),
            places => places,
        };
        frames.extend(places.iter().map(|place| Frame {
            function: place.function.clone(),
            file: place.file.clone(),
            line: place.line,
            inlined: place.inlined,
            ..bare.clone()
        }));
        if let Some(problem) = problem {
            self.warn(describe(problem, self.pid, module));
        }
    }

    /// Once for all frames of a stack.
    fn warn(&mut self, warning: Warning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

fn describe(problem: Problem, pid: u32, module: &str) -> Warning {
    let module = module.to_owned();
    match problem {
        Problem::Replaced => Warning::FileReplaced { pid, module },
        Problem::Unusable(reason) => Warning::SymbolsUnusable {
            module,
            reason: reason.to_owned(),
        },
    }
}

fn without_image(code: &Code, address: u64) -> u64 {
    address
        .wrapping_sub(code.mapping.range.start)
        .wrapping_add(code.file_offset())
}
