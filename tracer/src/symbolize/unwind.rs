//! From registers and a copied piece of stack to code addresses, innermost first. Reads nothing
//! but the copy and the images; an address outside executable memory never becomes a frame.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use framehop::{
    CacheNative, FrameAddress, MayAllocateDuringUnwind, Module, UnwindRegsNative, Unwinder,
    UnwinderNative,
};

use super::StackCopy;
use super::code::{Code, CodeIndex, CopiedStack};
use super::image::Bytes;
use super::open::FileId;
use super::registers;
use super::tables::{self, Cover};

const MAX_FRAMES: usize = 128;
const MAX_REMEMBERED: usize = 4096;

/// `at` is the address itself, `lookup` lies inside the instruction that is executing: for a
/// return address one byte before it, since a call may be the last instruction of its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodeAddress {
    pub at: u64,
    pub lookup: u64,
}

/// Where the frame of the function at one of the addresses lies, and where it returns to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PhysicalFrame {
    pub address: usize,
    pub cfa: u64,
    pub return_address: u64,
}

pub(super) struct Walk {
    pub addresses: Vec<CodeAddress>,
    /// Of those that are certain, innermost first.
    pub frames: Vec<PhysicalFrame>,
    pub truncated: bool,
    /// The walk met an address that no known mapping holds: the list may be old.
    pub left_known_code: bool,
    /// The first function whose caller had to be searched for on the stack.
    pub searched: Option<u64>,
}

impl Walk {
    /// Nothing is known, not even where the innermost function is.
    pub(super) fn unknown() -> Self {
        Self {
            addresses: Vec::new(),
            frames: Vec::new(),
            truncated: true,
            left_known_code: false,
            searched: None,
        }
    }

    /// Leaves off what lies further out than so many return addresses. Where the walk came to its end, anything is
    /// missed only if functions that count are among it.
    pub(super) fn believe(&mut self, steps: u32, counts: impl Fn(CodeAddress) -> bool) {
        let kept = (steps as usize).saturating_add(1).min(self.addresses.len());
        let left_off = self.addresses.split_off(kept);
        if left_off.is_empty() {
            return;
        }
        self.truncated |= left_off.into_iter().any(counts);
        self.left_known_code = false;
    }
}

impl Walk {
    /// With the return addresses that the kernel program came to, where the copied bytes ended before. They say nothing
    /// about frames further in that they do not agree with.
    pub(super) fn go_on(&mut self, walked: &[u64], code: &CodeIndex) {
        let found = self.addresses.iter().skip(1).map(|address| address.at);
        let count = self.addresses.len().saturating_sub(1);
        let Some((same, beyond)) = walked.split_at_checked(count) else {
            return;
        };
        if !self.truncated || self.searched.is_some() || !found.eq(same.iter().copied()) {
            return;
        }
        for return_address in beyond {
            let lookup = return_address.wrapping_sub(1);
            if code.find(lookup).is_none() {
                self.left_known_code = true;
                return;
            }
            self.addresses.push(CodeAddress {
                at: *return_address,
                lookup,
            });
        }
    }

    /// Keeps what lies further in than the first code of that file, and than the code it makes. Whether there is
    /// any.
    pub(super) fn end_before(
        &mut self,
        file: FileId,
        code: &CodeIndex,
    ) -> Option<Vec<CodeAddress>> {
        let is_of = |address: &CodeAddress| {
            let code = code.find(address.lookup);
            let image = code.and_then(|code| code.image.as_deref());
            image.is_some_and(|image| image.id == file) || code.is_some_and(Code::is_jit_code)
        };
        let first = self.addresses.iter().position(is_of)?;
        self.frames.retain(|frame| frame.address < first);
        Some(self.addresses.split_off(first))
    }
}

pub(super) enum Step {
    /// To this address. Searched for on the stack is likely, not certain.
    Return {
        address: u64,
        searched: bool,
    },
    /// A signal came when this instruction was next.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "elsewhere unwind tables describe signal frames")
    )]
    Interrupted {
        address: u64,
    },
    Outermost,
    Lost,
}

pub(super) struct CodeWalker {
    code: CodeIndex,
    unwinder: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    /// One for each process: rules are cached by address and by a 16-bit generation that would
    /// wrap if all processes shared a cache.
    cache: CacheNative<MayAllocateDuringUnwind>,
    covered: HashMap<u64, Cover>,
    signal_returns: HashMap<u64, bool>,
}

impl CodeWalker {
    pub(super) fn new(code: CodeIndex) -> Self {
        let mut unwinder = UnwinderNative::new();
        for entry in code.iter() {
            let (Some(image), Some(bias)) = (&entry.image, entry.bias) else {
                continue;
            };
            unwinder.add_module(Module::new(
                String::new(),
                entry.mapping.range.clone(),
                bias.wrapping_add(image.base),
                image.sections.clone(),
            ));
        }
        Self {
            code,
            unwinder,
            cache: CacheNative::new(),
            covered: HashMap::new(),
            signal_returns: HashMap::new(),
        }
    }

    pub(super) fn code(&self) -> &CodeIndex {
        &self.code
    }

    pub(super) fn walk(&mut self, copy: &StackCopy<'_>) -> Walk {
        let mut walk = Walk::unknown();
        if self.code.find(copy.pc).is_none() {
            walk.left_known_code = true;
            return walk;
        }
        let stack = CopiedStack::new(copy);
        let mut regs = registers::new(copy);
        let mut address = FrameAddress::from_instruction_pointer(copy.pc);
        let mut sp = copy.sp;
        walk.addresses.push(CodeAddress {
            at: copy.pc,
            lookup: copy.pc,
        });
        while walk.addresses.len() < MAX_FRAMES {
            let called = walk.addresses.len() > 1;
            let (next, lookup) = match self.step(address, &mut regs, &stack, called) {
                Step::Return {
                    address: return_address,
                    searched,
                } => {
                    if searched {
                        walk.searched.get_or_insert(address.address_for_lookup());
                    }
                    (return_address, return_address.wrapping_sub(1))
                }
                Step::Interrupted { address } => (address, address),
                Step::Outermost => {
                    walk.truncated = false;
                    break;
                }
                Step::Lost => break,
            };
            if self.code.find(lookup).is_none() {
                walk.left_known_code = true;
                break;
            }
            // Only the innermost frame may keep the stack pointer (aarch64 leaf).
            let innermost = walk.addresses.len() == 1;
            if regs.sp() < sp || (regs.sp() == sp && !innermost) {
                break;
            }
            sp = regs.sp();
            // Once its return address is taken off, the stack pointer is the frame's address (System V and
            // arm64); a signal's frame has none, and what was searched for is not certain.
            if lookup != next && walk.searched.is_none() {
                walk.frames.push(PhysicalFrame {
                    address: walk.addresses.len() - 1,
                    cfa: sp,
                    return_address: next,
                });
            }
            walk.addresses.push(CodeAddress { at: next, lookup });
            address = if next == lookup {
                FrameAddress::from_instruction_pointer(next)
            } else {
                let Some(next) = FrameAddress::from_return_address(next) else {
                    break;
                };
                next
            };
        }
        walk
    }

    fn step(
        &mut self,
        address: FrameAddress,
        regs: &mut UnwindRegsNative,
        stack: &CopiedStack<'_>,
        called: bool,
    ) -> Step {
        let here = address.address_for_lookup();
        if called
            && self.is_signal_return(address)
            && let Some(step) = registers::interrupted(stack, regs)
        {
            return step;
        }
        if let Some(leave) = self.code.find(here).and_then(|code| code.go_leave(here))
            && let Some(step) = registers::leave_go(leave, stack, regs)
        {
            return step;
        }
        if self.code.find(here).is_some_and(Code::is_jit_code)
            && let Some(step) = registers::leave_jit_code(&self.code, stack, regs)
        {
            return step;
        }
        let cover = self.cover(here);
        if cover == Cover::Refused {
            return Step::Lost;
        }
        if cover == Cover::Undescribed
            && let Some(code) = self.code.find(here)
            && code.image.is_some()
            && let Some(step) = if called && code.is_entry(here) {
                Some(Step::Outermost)
            } else if code.is_go() {
                registers::leaf(&self.code, stack, regs, called)
            } else {
                registers::search(&self.code, stack, here, regs)
            }
        {
            return step;
        }
        let mut reads = 0;
        let mut read = |at| {
            reads += 1;
            stack.read(at).ok_or(())
        };
        let (unwinder, cache) = (&self.unwinder, &mut self.cache);
        let next = catch_unwind(AssertUnwindSafe(|| {
            unwinder.unwind_frame(address, regs, cache, &mut read)
        }));
        // Tables made to trip the unwinder end the stack and nothing else.
        let Ok(next) = next else {
            return Step::Lost;
        };
        match next {
            Ok(Some(address)) => Step::Return {
                address,
                searched: false,
            },
            Ok(None) if self.is_outermost(address, called, reads > 0, *regs) => Step::Outermost,
            Ok(None) | Err(_) => Step::Lost,
        }
    }

    /// Reading the file for every frame would take half of the time.
    fn is_signal_return(&mut self, address: FrameAddress) -> bool {
        let (here, address) = (address.address_for_lookup(), address.address());
        if let Some(known) = self.signal_returns.get(&address) {
            return *known;
        }
        let code = self.code.find(here);
        let is_return = code.is_some_and(|code| registers::is_signal_return(code, address));
        if self.signal_returns.len() >= MAX_REMEMBERED {
            self.signal_returns.clear();
        }
        self.signal_returns.insert(address, is_return);
        is_return
    }

    fn cover(&mut self, address: u64) -> Cover {
        if let Some(known) = self.covered.get(&address) {
            return *known;
        }
        let code = self.code.find(address);
        let cover = match code.map(|code: &Code| (code.image.as_deref(), code.bias)) {
            Some((Some(image), Some(bias))) => {
                tables::cover(&image.sections, address.wrapping_sub(bias))
            }
            _ => Cover::Undescribed,
        };
        if self.covered.len() >= MAX_REMEMBERED {
            self.covered.clear();
        }
        self.covered.insert(address, cover);
        cover
    }

    /// framehop ends a walk for three reasons and does not say which: the tables call the function
    /// outermost, the return address is zero, or the frame pointer is zero. The last one proves
    /// nothing where frame pointers are not kept.
    fn is_outermost(
        &mut self,
        address: FrameAddress,
        called: bool,
        read_return_address: bool,
        mut regs: UnwindRegsNative,
    ) -> bool {
        let here = address.address_for_lookup();
        if self.cover(here) != Cover::Described {
            return called && self.code.find(here).is_some_and(Code::is_go);
        }
        if read_return_address {
            return true;
        }
        // With any other frame pointer, only the tables still end the walk without a look at the
        // stack.
        let somewhere = regs.sp();
        registers::set_frame_pointer(&mut regs, somewhere);
        let mut nothing = |_| Err(());
        let again = self
            .unwinder
            .unwind_frame(address, &mut regs, &mut self.cache, &mut nothing);
        again == Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(addresses: u64, truncated: bool) -> Walk {
        let address = |at| CodeAddress { at, lookup: at };
        Walk {
            addresses: (0..addresses).map(address).collect(),
            truncated,
            ..Walk::unknown()
        }
    }

    #[test]
    fn a_walk_that_did_not_come_to_its_end_stays_one_however_little_of_it_is_believed() {
        let is_own = |address: CodeAddress| address.at == 3;
        for (addresses, steps, truncated, still) in [
            (3, 0, true, true),
            (3, 0, false, false),
            (3, 2, true, true),
            (4, 1, false, true),
            (4, 3, false, false),
        ] {
            let mut walk = walk(addresses, truncated);
            walk.believe(steps, is_own);
            assert_eq!(walk.truncated, still, "{addresses} {steps} {truncated}");
        }
    }
}
