//! What a Go program's own table of functions (`.gopclntab`) says of an address: function, file,
//! line and how deep the stack is. The runtime needs that table, so no build is without it. Answers
//! with nothing where the table is damaged; reads the file piece by piece and keeps none of it.

mod function;
mod header;
mod inline;
mod layout;
mod module;
mod values;
mod window;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::ops::Range;
use std::sync::OnceLock;

use object::Endianness;
use object::read::ReadRef;
use object::read::elf::ElfFile64;

use super::names::Place;
use super::open::FileId;
use function::Function;
use header::{Header, Version};
use layout::{Layout, Piece};
use module::Module;
use window::{Source, Window};

/// The table is aligned to this where a foreign linker put it.
const ALIGNMENT: u64 = 32;

/// A Go program; its table is looked for when it is first needed.
pub(super) struct Program {
    layout: Layout,
    table: OnceLock<Option<Table>>,
}

/// How to leave a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// So many bytes above the stack pointer is the return address.
    Depth(u64),
    /// Nothing called it.
    Outermost,
    /// It runs on a stack that is not its caller's.
    Unknown,
}

impl Program {
    /// `None` when the file is not a Go program.
    pub(super) fn of<'a, R: ReadRef<'a>>(elf: &ElfFile64<'a, Endianness, R>) -> Option<Self> {
        let layout = Layout::of(elf)?;
        let table = OnceLock::new();
        Some(Self { layout, table })
    }

    /// `address` is in the ELF file's address space; `id` is what the file was when it was opened.
    pub(super) fn places(&self, file: &File, id: FileId, address: u64) -> Option<Vec<Place>> {
        let places = self.table(file)?.places(file, address)?;
        unchanged(file, id).then_some(places)
    }

    pub(super) fn leave(&self, file: &File, id: FileId, address: u64) -> Option<Leave> {
        let leave = self.table(file)?.leave(file, address)?;
        unchanged(file, id).then_some(leave)
    }

    /// Addresses in the ELF file of the variables that begin as zero.
    pub(super) fn zeroed(&self) -> &[Range<u64>] {
        &self.layout.zeroed
    }

    fn table(&self, file: &File) -> Option<&Table> {
        let table = self.table.get_or_init(|| Table::find(file, &self.layout));
        table.as_ref()
    }
}

/// What was read piece by piece is of one version.
fn unchanged(file: &File, id: FileId) -> bool {
    FileId::of(file) == Ok(id)
}

struct Table {
    header: Header,
    text: u64,
    trees: Option<Window>,
}

impl Table {
    fn find(source: &impl Source, layout: &Layout) -> Option<Self> {
        let table = match layout.table {
            Some(table) => table,
            None => search(source, layout.merged?)?,
        };
        let header = Header::read(source, table.window)?;
        let module = module::find(source, layout, table, &header);
        let (text, trees) = match module {
            Some(Module { text, trees }) => (text, trees),
            // 1.16 has addresses where later releases have offsets.
            None if header.version == Version::Go1_16 => (0, None),
            None => (header.text_start?, None),
        };
        Some(Self {
            header,
            text,
            trees,
        })
    }

    fn function(&self, source: &impl Source, address: u64) -> Option<Function> {
        Function::find(source, &self.header, self.text, address)
    }

    fn places(&self, source: &impl Source, address: u64) -> Option<Vec<Place>> {
        let function = self.function(source, address)?;
        inline::places(source, &self.header, self.trees, &function, address)
    }

    fn leave(&self, source: &impl Source, address: u64) -> Option<Leave> {
        // Earlier tables do not say which functions are special.
        if self.header.version < Version::Go1_18 {
            return None;
        }
        let function = self.function(source, address)?;
        if function.is_top() {
            return Some(Leave::Outermost);
        }
        if function.moves_stack() {
            return Some(Leave::Unknown);
        }
        let depth = function.depth(source, &self.header, address)?;
        Some(Leave::Depth(depth))
    }
}

/// The table in a section that holds other things too.
fn search(source: &impl Source, merged: Piece) -> Option<Piece> {
    let mut found = None;
    merged.window.each_piece(source, |at, bytes| {
        for (word, at) in bytes.as_chunks().0.iter().zip((at..).step_by(8)) {
            let address = merged.address.wrapping_add(at);
            let may_begin = address.is_multiple_of(ALIGNMENT) && header::is_magic(*word);
            if found.is_none()
                && may_begin
                && let Some(window) = merged.window.from(at)
                && Header::read(source, window).is_some()
            {
                found = Some(Piece { address, window });
            }
        }
    });
    found
}
