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

/// How a function that the tables do not describe is left.
enum Convention {
    /// Frame pointers by language rule: a zero ends the chain.
    Go,
    /// Nothing promises anything; the end of a chain proves nothing.
    Unknown,
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
            let described = self.find(here).is_some_and(|code| code.describes(here));
            let mut read = |at| stack.read(at).ok_or(());
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
                    let convention = self.convention(here);
                    walk.truncated = !described && !matches!(convention, Convention::Go);
                    break;
                }
                Err(_) => break,
            }
        }
        walk
    }

    fn convention(&self, address: u64) -> Convention {
        match self.find(address).and_then(|code| code.image.as_deref()) {
            Some(image) if image.go => Convention::Go,
            _ => Convention::Unknown,
        }
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

/// Signed return addresses carry their signature above the 48 bits of a user address.
#[cfg(target_arch = "aarch64")]
fn registers(copy: &StackCopy<'_>) -> UnwindRegsNative {
    let mask = framehop::aarch64::PtrAuthMask(u64::MAX >> 16);
    UnwindRegsNative::new_with_ptr_auth_mask(mask, copy.lr, copy.sp, copy.fp)
}
