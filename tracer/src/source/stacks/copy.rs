//! One copy of a stack: what came with it, and how it gets its names.

use std::rc::Rc;

use tracer_common::{event::StackCopy as Wire, runtime::Activation};

use crate::{
    model::{
        socket::SocketOperation,
        stack::{Frame, Stack},
    },
    source::wire::comm,
    symbolize::{Noted, StackCopy, Symbolizer, Warning, blame},
};

#[derive(Clone, Default)]
pub(super) struct Copy {
    pub pid: u32,
    start_boot: u64,
    pc: u64,
    sp: u64,
    fp: u64,
    lr: u64,
    comm: String,
    pub kind: u32,
    bytes: Rc<[u8]>,
    walked: Rc<[u64]>,
    /// Return addresses that the key stands for; `None` is all.
    pub sure: Option<u32>,
    functions: Functions,
}

/// What the kernel program has noted of a language runtime.
#[derive(Clone, Default)]
enum Functions {
    #[default]
    NotAsked,
    None,
    Unread,
    Noted {
        functions: Rc<[Activation]>,
        deeper: bool,
        /// What they were called when the copy came: later, other code may lie there.
        then: Option<Vec<Frame>>,
    },
}

impl Functions {
    fn of(noted: Noted<'_>) -> Self {
        match noted {
            Noted::Nothing => Self::NotAsked,
            Noted::NoFunctions => Self::None,
            Noted::Unread => Self::Unread,
            Noted::Functions { functions, deeper } => Self::Noted {
                functions: functions.into(),
                deeper,
                then: None,
            },
        }
    }
}

impl Copy {
    pub(super) fn of(wire: &Wire, noted: Noted<'_>, sure: Option<u32>) -> Self {
        Self {
            pid: wire.tgid,
            start_boot: wire.start_boot,
            pc: wire.pc,
            sp: wire.sp,
            fp: wire.fp,
            lr: wire.lr,
            comm: comm(&wire.comm),
            kind: wire.kind,
            bytes: wire.bytes().into(),
            walked: wire.walked().into(),
            sure,
            functions: Functions::of(noted),
        }
    }

    #[cfg(test)]
    pub(super) fn of_bytes(pid: u32, bytes: &[u8]) -> Self {
        Self {
            pid,
            bytes: bytes.into(),
            ..Self::default()
        }
    }

    /// About what it takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.walked) + size_of::<Self>()
    }

    fn view(&self) -> StackCopy<'_> {
        StackCopy {
            pid: self.pid,
            start_boot_ns: self.start_boot,
            pc: self.pc,
            sp: self.sp,
            fp: self.fp,
            lr: self.lr,
            thread: 0,
            noted: match &self.functions {
                Functions::NotAsked => Noted::Nothing,
                Functions::None => Noted::NoFunctions,
                Functions::Unread => Noted::Unread,
                Functions::Noted {
                    functions, deeper, ..
                } => Noted::Functions {
                    functions,
                    deeper: *deeper,
                },
            },
            bytes: &self.bytes,
            walked: &self.walked,
            sure: self.sure,
        }
    }

    /// Asks what the functions are called, while they are surely there.
    pub(super) fn identify(&mut self, symbolizer: &mut Symbolizer) {
        let named = match self.functions {
            Functions::Noted { .. } => symbolizer.functions(&self.view()),
            _ => return,
        };
        if let Functions::Noted { then, .. } = &mut self.functions {
            *then = named;
        }
    }

    /// With a later copy under the same key. Functions that were called otherwise before are those of some of the calls.
    pub(super) fn replace(&mut self, mut later: Self) {
        if let (Functions::Noted { then: before, .. }, Functions::Noted { then: after, .. }) =
            (&self.functions, &mut later.functions)
            && let (Some(before), Some(after)) = (before, after)
        {
            let same = before.iter().zip(&*after).take_while(|(a, b)| a == b);
            let same = same.count();
            after.truncate(same);
        }
        *self = later;
    }

    /// And whether the helper process failed.
    pub(super) fn name(
        &self,
        symbolizer: &mut Symbolizer,
        warnings: &mut Vec<Warning>,
    ) -> (Stack, bool) {
        let mut resolved = symbolizer.resolve(&self.view());
        warnings.append(&mut resolved.warnings);
        let mut stack = resolved.stack;
        let in_part = self.sure.is_some() && stack.truncated;
        stack.one_of_several |= in_part;
        if let Functions::Noted {
            functions,
            deeper,
            then,
        } = &self.functions
        {
            let sure = agreed(then.as_deref(), resolved.functions);
            if sure.is_empty() && !functions.is_empty() {
                warnings.push(Warning::FunctionsChanged { pid: self.pid });
            }
            stack.truncated = *deeper || sure.len() < functions.len();
            stack.frames.extend(sure);
            // Who called the first that can be blamed changes nothing.
            stack.one_of_several = stack.truncated && blame::blamed(&stack.frames).is_none();
        }
        let stack = Stack {
            thread: Some(self.comm.clone()),
            pid: Some(self.pid),
            kind: Some(SocketOperation::from_wire(self.kind)),
            ..stack
        };
        (stack, resolved.failed)
    }
}

/// What functions are called for sure: what they were when their stack was copied, if nothing else is there since.
fn agreed(then: Option<&[Frame]>, now: Option<Vec<Frame>>) -> Vec<Frame> {
    match (then, now) {
        (None, _) => Vec::new(),
        (Some(then), None) => then.to_vec(),
        (Some(then), Some(now)) => {
            let same = then.iter().zip(now).take_while(|(then, now)| *then == now);
            same.map(|(_, now)| now).collect()
        }
    }
}
