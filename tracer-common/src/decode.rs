//! Bytes to records, totally: every input gives a record or a [`Damage`], nothing panics.

extern crate alloc;

use alloc::boxed::Box;

use zerocopy::FromBytes;

use crate::event::{
    EpollControl, Eviction, Executed, Header, KIND_DESTROYED, KIND_EPOLL, KIND_EVICTION,
    KIND_EXECUTED, KIND_PROCESS, KIND_SAMPLED, KIND_STACK, KIND_TRANSITION, PAGE, Process,
    STACK_PAGES, Sampled, StackCopy, Transition,
};
use crate::{
    runtime::{
        Activation, MANAGED_CUT, MANAGED_DEEPER, MANAGED_UNREAD, MANAGED_WHOLE, MAX_MANAGED,
        MAX_SAMPLED,
    },
    stack_key,
};

/// A record of the ring buffers.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    Transition(Transition),
    Destroyed(Transition),
    Eviction(Eviction),
    Process(Process),
    Executed(Executed),
    Epoll(EpollControl),
    Stack(Box<StackCopy>),
    Sampled(Box<Sampled>),
}

/// Why bytes are not a record. Unknown kinds are data: a newer kernel object may send them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    Truncated { have: usize, need: usize },
    UnknownKind(u32),
    LengthMismatch { have: usize, said: u32 },
}

pub fn record(bytes: &[u8]) -> Result<Record, Damage> {
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| Damage::Truncated {
        have: bytes.len(),
        need: size_of::<Header>(),
    })?;
    if header.len as usize > bytes.len() {
        return Err(Damage::LengthMismatch {
            have: bytes.len(),
            said: header.len,
        });
    }
    match header.kind {
        KIND_TRANSITION => copied(bytes).map(Record::Transition),
        KIND_DESTROYED => copied(bytes).map(Record::Destroyed),
        KIND_EVICTION => copied(bytes).map(Record::Eviction),
        KIND_PROCESS => copied(bytes).map(Record::Process),
        KIND_EXECUTED => copied(bytes).map(Record::Executed),
        KIND_EPOLL => copied(bytes).map(Record::Epoll),
        KIND_STACK => copied(bytes).map(|copy| Record::Stack(Box::new(copy))),
        KIND_SAMPLED => copied(bytes).map(|sampled| Record::Sampled(Box::new(sampled))),
        other => Err(Damage::UnknownKind(other)),
    }
}

fn copied<T: FromBytes>(bytes: &[u8]) -> Result<T, Damage> {
    T::read_from_prefix(bytes)
        .map(|(value, _)| value)
        .map_err(|_| Damage::Truncated {
            have: bytes.len(),
            need: size_of::<T>(),
        })
}

impl Sampled {
    /// Functions of the runtime, innermost first; frames that run none are left out.
    pub fn functions(&self) -> impl Iterator<Item = Activation> + '_ {
        let count = (self.managed_frames as usize).min(MAX_SAMPLED);
        let frames = self.activations.iter().take(count);
        frames.filter(|one| one.code != 0).copied()
    }
}

impl StackCopy {
    /// Functions of a language runtime, innermost first; frames that run none are left out.
    pub fn functions(&self) -> impl Iterator<Item = Activation> + '_ {
        let count = (self.managed_frames as usize).min(MAX_MANAGED);
        let frames = self.activations.iter().take(count);
        frames.filter(|one| one.code != 0).copied()
    }

    /// Where the walk was cut among frames on the heap: code address, stack pointer and frame pointer, or 0.
    pub fn cut_on_heap(&self) -> [u64; 3] {
        let count = (self.managed_frames as usize).min(MAX_MANAGED);
        let last = self.activations.get(..count).and_then(<[_]>::last_chunk);
        match last {
            Some(last) if self.managed == MANAGED_CUT && last.iter().all(|one| one.code == 0) => {
                last.map(|one| one.instruction)
            }
            _ => [0; 3],
        }
    }

    /// What the key was made of beside return addresses.
    pub fn managed_hash(&self) -> u64 {
        match self.managed {
            MANAGED_WHOLE | MANAGED_DEEPER => self.functions().fold(0, |hash, one| {
                stack_key::fold_managed(hash, one.code, one.instruction)
            }),
            MANAGED_UNREAD | MANAGED_CUT => stack_key::UNREAD,
            _ => 0,
        }
    }

    /// The return addresses that the key was made of; none where other frames were there when they were read again.
    pub fn walked(&self) -> &[u64] {
        let count = stack_key::steps(self.key) as usize;
        let walked = self.walked.get(..count).unwrap_or(&[]);
        let addresses = [self.pc].into_iter().chain(walked.iter().copied());
        if self.is_key_of(addresses) {
            walked
        } else {
            &[]
        }
    }

    /// Whether the key was made of these addresses, the first of which is the system call's, and of the functions that
    /// came with it.
    pub fn is_key_of(&self, addresses: impl Iterator<Item = u64>) -> bool {
        let hash = addresses.fold(0, stack_key::fold);
        let (steps, whole) = (stack_key::steps(self.key), stack_key::is_whole(self.key));
        let same = stack_key::of_walk(hash, u64::from(steps), whole);
        let same = stack_key::below_managed(same, self.managed_hash());
        stack_key::in_process(same, self.tgid) == stack_key::of_any_call(self.key)
    }

    /// The stack bytes from `sp` upwards that were really read.
    pub fn bytes(&self) -> &[u8] {
        let from = (self.sp as usize) % PAGE;
        let to = (self.valid_pages as usize).min(STACK_PAGES) * PAGE;
        self.pages.get(from..to).unwrap_or(&[])
    }
}
