//! One copy of a stack: what came with it, and how it gets its names.

use std::rc::Rc;

use tracer_common::{event::StackCopy as Wire, runtime::Activation};

use crate::{
    model::{socket::SocketOperation, stack::Stack},
    source::wire::comm,
    symbolize::{Function, Functions as Told, Noted, StackCopy, Symbolizer, Warning, blame},
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
        what: What,
        /// What they were called when the copy came: later, other code may lie there.
        then: Option<Told>,
    },
}

#[derive(Clone)]
enum What {
    Functions {
        functions: Rc<[Activation]>,
        deeper: bool,
    },
    Cut {
        from: [u64; 3],
    },
}

impl Functions {
    fn of(noted: Noted<'_>) -> Self {
        let what = match noted {
            Noted::Nothing => return Self::NotAsked,
            Noted::NoFunctions => return Self::None,
            // Samples are named by themselves.
            Noted::Unread | Noted::Sampled { .. } | Noted::Interrupted { .. } => {
                return Self::Unread;
            }
            Noted::Functions { functions, deeper } => What::Functions {
                functions: functions.into(),
                deeper,
            },
            Noted::Cut { from, .. } => What::Cut { from },
        };
        Self::Noted { what, then: None }
    }

    fn view(&self) -> Noted<'_> {
        match self {
            Self::NotAsked => Noted::Nothing,
            Self::None => Noted::NoFunctions,
            Self::Unread => Noted::Unread,
            Self::Noted { what, .. } => match what {
                What::Functions { functions, deeper } => Noted::Functions {
                    functions,
                    deeper: *deeper,
                },
                What::Cut { from } => Noted::Cut {
                    from: *from,
                    on_heap: [0; 3],
                },
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
            first_thread: false,
            noted: self.functions.view(),
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

    /// Of the calls that share a key as far as it is sure, this is one. A walk that was `cut` has told the key nothing.
    pub(super) fn is_shared(&mut self, sure: u32, cut: bool) {
        self.sure = Some(sure);
        if cut && matches!(self.functions, Functions::Noted { .. }) {
            self.functions = Functions::Unread;
        }
    }

    /// With a later copy under the same key. Functions that were called otherwise before are those of some of the calls.
    pub(super) fn replace(&mut self, mut later: Self) {
        if let (Functions::Noted { then: before, .. }, Functions::Noted { then: after, .. }) =
            (&self.functions, &mut later.functions)
            && let (Some(before), Some(after)) = (before, after)
        {
            let same = common(&before.functions, &after.functions);
            after.truncated |= same < after.functions.len();
            after.functions.truncate(same);
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
        // A copy of one call alone may end too, at a frame that is larger than the copy: the function that this is of
        // may have been called by anybody.
        stack.one_of_several |= stack.truncated;
        if let Functions::Noted { what, then } = &self.functions {
            let sure = agreed(then.as_ref(), resolved.functions);
            let (any, deeper) = match what {
                What::Functions { functions, deeper } => (!functions.is_empty(), *deeper),
                What::Cut { .. } => (true, false),
            };
            if sure.functions.is_empty() && any && !stack.of_end {
                warnings.push(Warning::FunctionsChanged { pid: self.pid });
            }
            stack.truncated = deeper || sure.truncated;
            let frames = sure.functions.into_iter().map(|one| one.frame);
            stack.frames.extend(frames);
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
fn agreed(then: Option<&Told>, now: Option<Told>) -> Told {
    match (then, now) {
        (None, _) => Told {
            truncated: true,
            ..Told::default()
        },
        (Some(then), None) => then.clone(),
        (Some(then), Some(_)) if then.for_ever => then.clone(),
        (Some(then), Some(mut now)) => {
            let same = common(&then.functions, &now.functions);
            now.truncated |= then.truncated || same < then.functions.len();
            now.functions.truncate(same);
            now
        }
    }
}

fn common(one: &[Function], other: &[Function]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
