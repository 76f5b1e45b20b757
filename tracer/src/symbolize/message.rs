//! What the tracer and its helper process say to each other. Neither side believes the other more
//! than it must: the helper is told no path and no address of the tracer, and what it answers is
//! checked before it is used.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tracer_common::runtime::Activation;

use super::demangle;
use super::goroutines::Goroutines;
use super::listeners::Listening;
use super::maps::Mapping;
use super::open::FileId;
use super::request::{AddressRule, Functions, Noted, Resolved, RuntimeOf};
use super::runtimes::memory::{MAX_AT_ONCE, MAX_PAGES, MAX_PAGES_OF_GOROUTINES};
use super::tasks::Tasks;
use super::warning::Warning;
use crate::model::runtime::Runtimes;
use crate::model::stack::Frame;

/// The list of 4096 mappings with the longest names has 4.3 MiB.
pub(super) const MAX_REQUEST: usize = 8 << 20;
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// Frames, each with the functions inlined into it.
const MAX_FRAMES: usize = 128 * 65;
/// The longest that the helper gives to names and paths, and the module's 255 characters.
const MAX_TEXT: usize = 1024;
const MAX_WARNINGS: usize = 256;
/// A build-id of 128 bytes in hexadecimal.
const MAX_BUILD_ID: usize = 256;

/// A file that the tracer opened, by the number it gave it.
pub(super) type Key = u64;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// A mapped file; comes with its descriptor and is answered with `Loaded`.
    File {
        key: Key,
        id: FileId,
    },
    /// Comes with a descriptor: separate debug information for the file.
    DebugFile {
        of: Key,
    },
    /// The number will not be used again.
    Drop {
        key: Key,
    },
    /// All code of a process. What else the tracer opens for it goes into a request of its own,
    /// with the descriptor beside it.
    Process {
        pid: u32,
        regions: Vec<Region>,
    },
    Forget {
        pid: u32,
    },
    /// Comes with a descriptor: the names that the process's runtime lists for code it made.
    JitNames {
        pid: u32,
    },
    /// There is no such list any more, or others need its place.
    DropJitNames {
        pid: u32,
    },
    /// Answered with `Named`, after any number of `Reading` and `Need`.
    Name(Copy),
    /// The answer to `Need`: each page's bytes, or that it cannot be read.
    Memory {
        pages: Vec<Option<ByteBuf>>,
    },
    /// How to leave each frame of the stack. Answered with `Rules`.
    Rules(Copy),
    /// Which language runtime the process has. Answered with `Runtime`.
    Runtime(Copy),
    /// What the noted functions are called. Answered with `Functions`.
    Functions(Copy),
    /// All goroutines of the process. Answered with `Goroutines`.
    Goroutines {
        number: u64,
        pid: u32,
        runtimes: Runtimes,
        /// Thread id and thread pointer, of threads that stood still a moment ago.
        threads: Vec<(u32, u64)>,
        /// Ids of those whose stacks come first.
        asked: Vec<u64>,
    },
    /// The suspended tasks of the process. Answered with `Tasks`.
    Tasks {
        number: u64,
        pid: u32,
        runtimes: Runtimes,
    },
    /// Who listens to the process's sockets with these descriptors. Answered with `Listeners`.
    Listeners {
        number: u64,
        pid: u32,
        runtimes: Runtimes,
        descriptors: Vec<i32>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Region {
    pub mapping: Mapping,
    pub content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Content {
    Nothing,
    File(Key),
    Memory(Vec<u8>),
    /// Why there is no file.
    Problem(Warning),
}

/// [`super::StackCopy`] with bytes of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Copy {
    pub number: u64,
    pub pid: u32,
    pub pc: u64,
    pub sp: u64,
    pub fp: u64,
    pub lr: u64,
    pub thread: u64,
    pub first_thread: bool,
    /// Language runtimes that may be read.
    pub runtimes: Runtimes,
    pub noted: OwnNoted,
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    pub walked: Vec<u64>,
    pub sure: Option<u32>,
}

/// [`Noted`] with functions of its own: code and instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum OwnNoted {
    #[default]
    Nothing,
    NoFunctions,
    Unread,
    Functions {
        functions: Vec<(u64, u64)>,
        deeper: bool,
    },
    Cut {
        from: [u64; 3],
        on_heap: [u64; 3],
    },
    Sampled {
        functions: Vec<(u64, u64)>,
        deeper: bool,
    },
    Interrupted {
        from: [u64; 3],
        lately: bool,
    },
}

impl OwnNoted {
    /// Something that can be named.
    pub(super) fn is_some(&self) -> bool {
        !matches!(self, Self::Nothing | Self::NoFunctions | Self::Unread)
    }

    pub(super) fn of(noted: Noted<'_>) -> Self {
        match noted {
            Noted::Nothing => Self::Nothing,
            Noted::NoFunctions => Self::NoFunctions,
            Noted::Unread => Self::Unread,
            Noted::Cut { from, on_heap } => Self::Cut { from, on_heap },
            Noted::Interrupted { from, lately } => Self::Interrupted { from, lately },
            Noted::Functions { functions, deeper } => Self::Functions {
                functions: pairs(functions),
                deeper,
            },
            Noted::Sampled { functions, deeper } => Self::Sampled {
                functions: pairs(functions),
                deeper,
            },
        }
    }
}

fn pairs(functions: &[Activation]) -> Vec<(u64, u64)> {
    let pair = |one: &Activation| (one.code, one.instruction);
    functions.iter().map(pair).collect()
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The first word of a helper: what does not hold it, as it found by trying.
    Ready {
        without: Vec<SandboxLayer>,
    },
    Loaded {
        key: Key,
        outcome: Result<Option<String>, Unusable>,
    },
    /// The names of this file are wanted now; the first time, they have to be loaded.
    Reading {
        id: FileId,
        first: bool,
    },
    /// Addresses of pages of the process whose stack is named; answered with `Memory`.
    Need {
        pages: Vec<u64>,
    },
    Named(Named),
    Rules(Rules),
    Runtime {
        number: u64,
        found: RuntimeOf,
    },
    Functions {
        number: u64,
        /// `None` where they cannot be read any more.
        told: Option<Functions>,
    },
    Goroutines {
        number: u64,
        /// `None` when the process is no Go program, or is not to be read.
        found: Option<Goroutines>,
    },
    Tasks {
        number: u64,
        found: Option<Tasks>,
    },
    Listeners {
        number: u64,
        found: Option<Listening>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Unusable {
    /// Rewritten since it was opened.
    Changed,
    /// A kind of failure, never what is in the file.
    Because(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub number: u64,
    pub resolved: Resolved,
    pub left_known_code: bool,
    /// Symbol tables given up so far.
    pub evicted_names: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rules {
    pub number: u64,
    pub of_frames: Vec<AddressRule>,
    pub left_known_code: bool,
}

/// One of the things that hold the helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SandboxLayer {
    User,
    Files,
    Seccomp,
    Limits,
}

impl SandboxLayer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "a user without rights",
            Self::Files => "landlock or a root directory of its own",
            Self::Seccomp => "seccomp",
            Self::Limits => "resource limits",
        }
    }
}

impl Request {
    /// How much memory of the process may be asked for meanwhile.
    pub(super) const fn pages(&self) -> usize {
        match self {
            Self::Goroutines { .. } | Self::Tasks { .. } | Self::Listeners { .. } => {
                MAX_PAGES_OF_GOROUTINES
            }
            _ => MAX_PAGES,
        }
    }
}

impl Answer {
    /// No helper that does its work says more than this.
    pub(super) fn is_plausible(&self) -> bool {
        match self {
            Self::Ready { without } => without.len() <= 4,
            Self::Reading { .. } | Self::Runtime { .. } => true,
            Self::Need { pages } => pages.len() <= MAX_AT_ONCE,
            Self::Loaded { outcome, .. } => match outcome {
                Ok(build_id) => build_id.as_deref().is_none_or(is_build_id),
                Err(Unusable::Changed) => true,
                Err(Unusable::Because(reason)) => reason.len() <= MAX_TEXT,
            },
            Self::Named(named) => is_plausible(&named.resolved),
            Self::Rules(rules) => rules.of_frames.len() <= MAX_FRAMES,
            Self::Functions { told, .. } => told.as_ref().is_none_or(is_told_plausibly),
            Self::Goroutines { found, .. } => found.as_ref().is_none_or(Goroutines::is_plausible),
            Self::Tasks { found, .. } => found.as_ref().is_none_or(Tasks::is_plausible),
            Self::Listeners { found, .. } => found.as_ref().is_none_or(Listening::is_plausible),
        }
    }
}

fn is_plausible(resolved: &Resolved) -> bool {
    let frames = &resolved.stack.frames;
    let places = &resolved.stack.frames_at;
    are_plausible(frames)
        && resolved.functions.as_ref().is_none_or(is_told_plausibly)
        && places.len() <= frames.len()
        && places
            .iter()
            .all(|place| (place.frame as usize) < frames.len())
        && resolved.warnings.len() <= MAX_WARNINGS
        && resolved
            .warnings
            .iter()
            .all(|warning| warning.to_string().len() <= 2 * MAX_TEXT)
}

pub(super) fn are_plausible(frames: &[Frame]) -> bool {
    frames.len() <= MAX_FRAMES && frames.iter().all(is_frame_plausible)
}

fn is_told_plausibly(told: &Functions) -> bool {
    let mut frames = told.functions.iter().map(|one| &one.frame);
    told.functions.len() <= MAX_FRAMES && frames.all(is_frame_plausible)
}

pub(super) fn is_frame_plausible(frame: &Frame) -> bool {
    let short = |text: &Option<String>| text.as_ref().is_none_or(|text| text.len() <= MAX_TEXT);
    short(&frame.function)
        && short(&frame.module)
        && short(&frame.file)
        && frame.build_id.as_deref().is_none_or(is_build_id)
}

/// Part of a path when debug information is looked for.
pub(super) fn is_build_id(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (2..=MAX_BUILD_ID).contains(&text.len()) && text.bytes().all(hex)
}

const _: () = assert!(demangle::MAX_NAME <= MAX_TEXT);

#[cfg(test)]
mod tests;
