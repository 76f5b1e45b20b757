//! From registers and a copied piece of stack to code addresses, innermost first. Reads nothing
//! but the copy and the images; an address outside executable memory never becomes a frame.

use std::ops::Range;
use std::sync::Arc;

use framehop::{
    CacheNative, FrameAddress, MayAllocateDuringUnwind, Module, UnwindRegsNative, Unwinder,
    UnwinderNative,
};

use super::StackCopy;
use super::image::{Bytes, Image};
use super::maps::Mapping;

pub(super) const MAX_FRAMES: usize = 128;

/// A mapping of code together with what is known about the file behind it.
pub(super) struct Code {
    pub mapping: Mapping,
    pub image: Option<Arc<Image>>,
    /// Run-time address minus address in the ELF file; wraps.
    pub bias: Option<u64>,
}

/// `at` is the address itself, `lookup` lies inside the instruction that is executing: for a
/// return address one byte before it, since a call may be the last instruction of its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CodeAddress {
    pub at: u64,
    pub lookup: u64,
}

pub(super) struct Walk {
    pub addresses: Vec<CodeAddress>,
    pub truncated: bool,
    /// The walk met an address that no known mapping holds: the list may be old.
    pub left_known_code: bool,
}

pub(super) struct CodeIndex {
    code: Vec<Code>,
    unwinder: UnwinderNative<Bytes, MayAllocateDuringUnwind>,
    /// One for each process: rules are cached by address and by a 16-bit generation that would
    /// wrap if all processes shared a cache.
    cache: CacheNative<MayAllocateDuringUnwind>,
}

impl CodeIndex {
    /// `code` is sorted by address.
    pub(super) fn new(code: Vec<Code>) -> Self {
        let mut unwinder = UnwinderNative::new();
        for entry in &code {
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
        }
    }

    pub(super) fn code(&self) -> &[Code] {
        &self.code
    }

    pub(super) fn find(&self, address: u64) -> Option<&Code> {
        let after = self
            .code
            .partition_point(|code| code.mapping.range.start <= address);
        let code = self.code.get(after.checked_sub(1)?)?;
        code.mapping.range.contains(&address).then_some(code)
    }

    pub(super) fn walk(&mut self, copy: &StackCopy<'_>) -> Walk {
        let mut walk = Walk {
            addresses: Vec::new(),
            truncated: true,
            left_known_code: false,
        };
        if self.find(copy.pc).is_none() {
            walk.left_known_code = true;
            return walk;
        }
        let stack = CopiedStack::new(copy);
        let mut regs = registers(copy);
        let mut address = FrameAddress::from_instruction_pointer(copy.pc);
        let mut sp = copy.sp;
        walk.addresses.push(CodeAddress {
            at: copy.pc,
            lookup: copy.pc,
        });
        while walk.addresses.len() < MAX_FRAMES {
            let here = address.address_for_lookup();
            let mut reads = 0;
            let mut read = |at| {
                reads += 1;
                stack.read(at).ok_or(())
            };
            match self
                .unwinder
                .unwind_frame(address, &mut regs, &mut self.cache, &mut read)
            {
                Ok(Some(return_address)) => {
                    let lookup = return_address.wrapping_sub(1);
                    if self.find(lookup).is_none() {
                        walk.left_known_code = true;
                        break;
                    }
                    // Only the innermost frame may keep the stack pointer (aarch64 leaf).
                    let first = walk.addresses.len() == 1;
                    if regs.sp() < sp || (regs.sp() == sp && !first) {
                        break;
                    }
                    sp = regs.sp();
                    walk.addresses.push(CodeAddress {
                        at: return_address,
                        lookup,
                    });
                    let Some(next) = FrameAddress::from_return_address(return_address) else {
                        break;
                    };
                    address = next;
                }
                Ok(None) => {
                    let called = walk.addresses.len() > 1;
                    walk.truncated = !self.is_outermost(address, called, reads > 0, regs);
                    break;
                }
                Err(_) => break,
            }
        }
        walk
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
        let Some(code) = self.find(here) else {
            return false;
        };
        if !code.describes(here) {
            let go = code.image.as_ref().is_some_and(|image| image.go);
            return go && called;
        }
        if read_return_address {
            return true;
        }
        // With any other frame pointer, only the tables still end the walk without a look at the
        // stack.
        let somewhere = regs.sp();
        set_frame_pointer(&mut regs, somewhere);
        let mut nothing = |_| Err(());
        let again = self
            .unwinder
            .unwind_frame(address, &mut regs, &mut self.cache, &mut nothing);
        again == Ok(None)
    }
}

impl Code {
    fn describes(&self, address: u64) -> bool {
        match (&self.image, self.bias) {
            (Some(image), Some(bias)) => image.covers(address.wrapping_sub(bias)),
            _ => false,
        }
    }
}

struct CopiedStack<'a> {
    range: Range<u64>,
    bytes: &'a [u8],
}

impl<'a> CopiedStack<'a> {
    fn new(copy: &StackCopy<'a>) -> Self {
        Self {
            range: copy.sp..copy.sp.saturating_add(copy.bytes.len() as u64),
            bytes: copy.bytes,
        }
    }

    fn read(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.range.start)?).ok()?;
        let bytes = self.bytes.get(offset..offset.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(target_arch = "x86_64")]
fn registers(copy: &StackCopy<'_>) -> UnwindRegsNative {
    UnwindRegsNative::new(copy.pc, copy.sp, copy.fp)
}

#[cfg(target_arch = "x86_64")]
fn set_frame_pointer(regs: &mut UnwindRegsNative, value: u64) {
    regs.set_bp(value);
}

#[cfg(target_arch = "aarch64")]
fn set_frame_pointer(regs: &mut UnwindRegsNative, value: u64) {
    regs.set_fp(value);
}

/// Signed return addresses carry their signature above the 48 bits of a user address.
#[cfg(target_arch = "aarch64")]
fn registers(copy: &StackCopy<'_>) -> UnwindRegsNative {
    let mask = framehop::aarch64::PtrAuthMask(u64::MAX >> 16);
    UnwindRegsNative::new_with_ptr_auth_mask(mask, copy.lr, copy.sp, copy.fp)
}
