//! The code of one process by address, and the piece of stack that was copied from it.

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::StackCopy;
use super::go;
use super::image::Image;
use super::maps::{Backing, Mapping};
use super::names::Place;
use super::warning::Warning;

/// Longer than the few instructions at a C program's entry.
const ENTRY: u64 = 48;

/// A mapping of code together with what is known about the file behind it.
pub(super) struct Code {
    pub mapping: Mapping,
    pub image: Option<Arc<Image>>,
    /// Run-time address minus address in the ELF file; wraps.
    pub bias: Option<u64>,
    /// Why there is no image.
    pub problem: Option<Warning>,
}

impl Code {
    pub(super) fn new(mapping: Mapping, image: Option<Arc<Image>>) -> Self {
        let mut code = Self {
            mapping,
            image,
            bias: None,
            problem: None,
        };
        let (start, offset) = (code.mapping.range.start, code.file_offset());
        let image = code.image.as_deref();
        code.bias = image.and_then(|image| image.bias(start, offset));
        code
    }

    /// Where the mapping begins in the image's file; the vDSO's file holds nothing else.
    pub(super) fn file_offset(&self) -> u64 {
        match self.mapping.backing {
            Backing::Vdso => 0,
            Backing::File | Backing::Anonymous => self.mapping.offset,
        }
    }

    /// What a Go program's own table says about leaving the function at a run-time address.
    pub(super) fn go_leave(&self, address: u64) -> Option<go::Leave> {
        let image = self.image.as_deref()?;
        let address = address.wrapping_sub(self.bias?);
        image.go.as_ref()?.leave(&image.file, image.id, address)
    }

    /// What is said of a run-time address without reading debug information (`Image::cheap_places`).
    pub(super) fn cheap_places(&self, address: u64) -> Vec<Place> {
        let places = || {
            let image = self.image.as_deref()?;
            Some(image.cheap_places(address.wrapping_sub(self.bias?)))
        };
        places().unwrap_or_default()
    }

    /// Instructions at a run-time address, from the file.
    pub(super) fn read(&self, address: u64, buffer: &mut [u8]) -> bool {
        let offset = || {
            let at = address.checked_sub(self.mapping.range.start)?;
            at.checked_add(self.file_offset())
        };
        let (Some(image), Some(at)) = (&self.image, offset()) else {
            return false;
        };
        image.file.read_exact_at(buffer, at).is_ok()
    }

    /// Where the program begins; nothing called the code there.
    pub(super) fn is_entry(&self, address: u64) -> bool {
        let entry = || Some(self.image.as_deref()?.entry?.wrapping_add(self.bias?));
        let Some(entry) = entry() else { return false };
        let mut bytes = [0; 8];
        let near = (entry..entry.saturating_add(ENTRY)).contains(&address);
        // Linkers also give libraries an entry that means nothing.
        near && self.read(entry, &mut bytes) && clears_frame_pointer(bytes)
    }

    pub(super) fn is_jit_code(&self) -> bool {
        self.mapping.backing == Backing::Anonymous
    }

    pub(super) fn is_go(&self) -> bool {
        self.image.as_ref().is_some_and(|image| image.go.is_some())
    }
}

/// As the ABI demands of the first instruction of a program.
#[cfg(target_arch = "x86_64")]
fn clears_frame_pointer(bytes: [u8; 8]) -> bool {
    let bytes = bytes
        .strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa])
        .unwrap_or(&bytes);
    let bytes = bytes.strip_prefix(&[0x48]).unwrap_or(bytes);
    bytes.starts_with(&[0x31, 0xed])
}

/// `mov x29, #0`
#[cfg(target_arch = "aarch64")]
fn clears_frame_pointer(bytes: [u8; 8]) -> bool {
    bytes.as_chunks().0.contains(&0xd280_001d_u32.to_le_bytes())
}

/// Sorted by address.
pub(super) struct CodeIndex(Vec<Code>);

impl CodeIndex {
    pub(super) fn new(mut code: Vec<Code>) -> Self {
        code.sort_by_key(|code| code.mapping.range.start);
        Self(code)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Code> {
        self.0.iter()
    }

    pub(super) fn find(&self, address: u64) -> Option<&Code> {
        let starts_before = |code: &Code| code.mapping.range.start <= address;
        let after = self.0.partition_point(starts_before);
        let code = self.0.get(after.checked_sub(1)?)?;
        code.mapping.range.contains(&address).then_some(code)
    }
}

pub(super) struct CopiedStack<'a> {
    range: Range<u64>,
    bytes: &'a [u8],
}

impl<'a> CopiedStack<'a> {
    pub(super) fn new(copy: &StackCopy<'a>) -> Self {
        Self {
            range: copy.sp..copy.sp.saturating_add(copy.bytes.len() as u64),
            bytes: copy.bytes,
        }
    }

    pub(super) fn read(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.range.start)?).ok()?;
        let bytes = self.bytes.get(offset..offset.checked_add(8)?)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }
}
