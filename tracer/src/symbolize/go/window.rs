//! Reads of a file that may say anything and change at any time: never past the part that is known
//! to hold the tables, never more than asked for.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Where bytes come from; a file, or memory in tests.
pub(super) trait Source {
    fn read(&self, buffer: &mut [u8], at: u64) -> Option<()>;
}

impl Source for File {
    fn read(&self, buffer: &mut [u8], at: u64) -> Option<()> {
        self.read_exact_at(buffer, at).ok()
    }
}

/// A piece of the file; positions are relative to its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub offset: u64,
    pub size: u64,
}

impl Window {
    pub(super) fn from(self, start: u64) -> Option<Self> {
        Some(Self {
            offset: self.offset.checked_add(start)?,
            size: self.size.checked_sub(start)?,
        })
    }

    pub(super) fn bytes<const N: usize>(self, source: &impl Source, at: u64) -> Option<[u8; N]> {
        let mut buffer = [0; N];
        self.fill(source, at, &mut buffer).map(|()| buffer)
    }

    pub(super) fn fill(self, source: &impl Source, at: u64, buffer: &mut [u8]) -> Option<()> {
        let inside = at.checked_add(buffer.len() as u64)? <= self.size;
        let at = self.offset.checked_add(at)?;
        inside.then(|| source.read(buffer, at)).flatten()
    }

    /// As much as there is, up to the length of `buffer`.
    pub(super) fn some<'b>(
        self,
        source: &impl Source,
        at: u64,
        buffer: &'b mut [u8],
    ) -> Option<&'b [u8]> {
        let left = self.size.checked_sub(at)?.min(buffer.len() as u64);
        let buffer = buffer.get_mut(..left as usize)?;
        self.fill(source, at, buffer)?;
        Some(buffer)
    }

    /// Piece by piece, each of whole words and whole relocation entries.
    pub(super) fn each_piece(self, source: &impl Source, mut visit: impl FnMut(u64, &[u8])) {
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < self.size.min(MAX_SCANNED) {
            let Some(bytes) = self.some(source, at, &mut buffer) else {
                return;
            };
            visit(at, bytes);
            at += bytes.len() as u64;
        }
    }

    pub(super) fn u32(self, source: &impl Source, at: u64) -> Option<u32> {
        self.bytes(source, at).map(u32::from_le_bytes)
    }

    pub(super) fn u64(self, source: &impl Source, at: u64) -> Option<u64> {
        self.bytes(source, at).map(u64::from_le_bytes)
    }

    /// A text that ends with a zero byte; a longer one is no text.
    pub(super) fn text(self, source: &impl Source, at: u64) -> Option<String> {
        let mut buffer = [0; MAX_TEXT];
        let bytes = self.some(source, at, &mut buffer)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(bytes.get(..end)?);
        (!text.is_empty()).then(|| text.into_owned())
    }
}

/// Data and relocations of the largest programs are below; what comes later is not read.
const MAX_SCANNED: u64 = 256 << 20;
/// A multiple of a word, of a relocation entry and of the alignment of the function table.
const PIECE: usize = 96 << 10;
/// Names of deeply nested generic functions are a few hundred bytes.
const MAX_TEXT: usize = 4096;
