//! Go 1.18 to 1.27: its goroutines, from the runtime's own list of them in the memory of the process. No layout is
//! compiled in: a `g` is known by a word that points to itself, and by the ids that are different in all of them.
//! Whatever does not fit is not a goroutine.

mod created;
mod descriptors;
mod list;
mod search;
mod walk;

use tracer_common::runtime::{KIND_GO, Runtime};
use zerocopy::transmute;

use super::memory::Memory;
use crate::symbolize::code::CodeIndex;
use crate::symbolize::request::RuntimeOf;
use created::Created;

pub(in crate::symbolize) use descriptors::Descriptors;
pub(in crate::symbolize) use list::G;
pub(in crate::symbolize) use walk::{Place, Walker};

/// From the thread pointer to the place of the `g` that the thread runs (`runtime·settls`; the only thread-local
/// variable of a Go program lies directly below the thread pointer). The kernel program believes it only where the
/// stack pointer lies in the stack of that `g`.
pub(super) const RUNNING: u64 = 0_u64.wrapping_sub(8);

/// Where the runtime of one process keeps its goroutines.
#[derive(Debug)]
pub(in crate::symbolize) struct Golang {
    /// Address of the slice of all of them, `runtime.allgs`.
    all: u64,
    layout: Layout,
}

/// Offsets in `runtime.g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    /// Where it says what started it, if that was found out.
    created: Option<Created>,
    /// The third word of its `gobuf`, which points to the `g` itself; stack pointer and program counter are the
    /// two before.
    itself: u64,
    id: u64,
}

impl Layout {
    const fn sp(self) -> u64 {
        self.itself - 16
    }

    const fn pc(self) -> u64 {
        self.itself - 8
    }

    /// `atomicstatus`, 4 bytes; the stack lock is in the other 4.
    const fn status(self) -> u64 {
        self.id - 8
    }

    /// `waitsince`: `schedlink` lies between.
    const fn since(self) -> u64 {
        self.id + 16
    }
}

impl Golang {
    /// `None` when the process is no Go program, or its runtime has only begun.
    pub(in crate::symbolize::runtimes) fn learn(
        code: &CodeIndex,
        memory: &mut Memory<'_>,
    ) -> Option<Self> {
        let is_go = code.iter().find(|code| code.is_go())?;
        let (image, bias) = (is_go.image.as_deref()?, is_go.bias?);
        let zeroed = image.go.as_ref()?.zeroed();
        let found = zeroed
            .iter()
            .map(|range| range.start.wrapping_add(bias)..range.end.wrapping_add(bias))
            .find_map(|range| search::find(memory, range));
        let Some(mut found) = found else {
            // Every Go program has some as soon as its runtime has begun.
            memory.too_early();
            return None;
        };
        found.layout.created = created::find(code, memory, &found);
        Some(found)
    }

    /// How the kernel program finds the goroutine that a thread runs.
    pub(in crate::symbolize::runtimes) fn to_note(&self) -> RuntimeOf {
        if cfg!(not(target_arch = "x86_64")) {
            return RuntimeOf::Nobody;
        }
        RuntimeOf::Known(transmute!(Runtime {
            kind: KIND_GO,
            state: RUNNING,
            frame: self.layout.id,
            ..Runtime::BLANK
        }))
    }
}
