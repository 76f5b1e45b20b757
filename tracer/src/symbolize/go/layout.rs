//! Where a Go program's file keeps what the runtime needs: the table of functions, which survives
//! stripping, and the data that leads to the rest. Reads section headers only.

use std::ops::Range;

use object::read::ReadRef;
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader};
use object::{Endianness, Object, ObjectSection, elf};

use super::window::Window;

/// The second is how position-independent programs have it.
const TABLES: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// A foreign linker merges the table into the section that holds all data of this kind.
const MERGED: &str = ".data.rel.ro";
const MARK: &str = ".go.buildinfo";
const MODULE: &str = ".go.module";
const MAX_PIECES: usize = 64;

/// A piece of the file and the address it is linked to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub address: u64,
    pub window: Window,
}

impl Piece {
    /// From this address to the end of the piece.
    pub(super) fn from(&self, address: u64) -> Option<Window> {
        self.window.from(address.checked_sub(self.address)?)
    }
}

#[derive(Debug)]
pub(super) struct Layout {
    pub table: Option<Piece>,
    /// Where to look for the table when no section is named after it.
    pub merged: Option<Piece>,
    /// Everything that is loaded from the file.
    pub loaded: Vec<Piece>,
    /// Sections that can hold the module's data.
    pub data: Vec<Piece>,
    pub relocations: Vec<Window>,
    /// Addresses of variables that the file has no bytes for.
    pub zeroed: Vec<Range<u64>>,
}

impl Layout {
    /// `None` for programs that are not Go's.
    pub(super) fn of<'a, R: ReadRef<'a>>(program: &ElfFile64<'a, Endianness, R>) -> Option<Self> {
        let section = |name: &str| program.section_by_name(name);
        let table = TABLES.iter().find_map(|name| section(name));
        if table.is_none() && section(MARK).is_none() {
            return None;
        }
        let endian = program.endian();
        let headers = program.elf_program_headers().iter();
        let loaded = headers
            .filter(|header| header.p_type(endian) == elf::PT_LOAD)
            .map(|header| Piece {
                address: header.p_vaddr(endian),
                window: Window {
                    offset: header.p_offset(endian),
                    size: header.p_filesz(endian),
                },
            });
        let mut data = Vec::new();
        let mut relocations = Vec::new();
        let mut zeroed = Vec::new();
        for section in program.sections().take(1024) {
            let header = section.elf_section_header();
            let kind = header.sh_type(endian);
            let flags = header.sh_flags(endian).0;
            let is_variable = flags & elf::SHF_WRITE.0 != 0 && flags & elf::SHF_TLS.0 == 0;
            if kind == elf::SHT_NOBITS && is_variable && zeroed.len() < MAX_PIECES {
                let start = section.address();
                zeroed.push(start..start.saturating_add(section.size()));
            }
            let Some((offset, size)) = section.file_range() else {
                continue;
            };
            if kind == elf::SHT_RELA && relocations.len() < MAX_PIECES {
                relocations.push(Window { offset, size });
            }
            let writable = header.sh_flags(endian).0 & elf::SHF_WRITE.0 != 0;
            let holds_data = writable || section.name().is_ok_and(|name| name == MODULE);
            if kind == elf::SHT_PROGBITS && holds_data && data.len() < MAX_PIECES {
                let address = section.address();
                let window = Window { offset, size };
                data.push(Piece { address, window });
            }
        }
        Some(Self {
            table: table.and_then(|section| piece(&section)),
            merged: section(MERGED).and_then(|section| piece(&section)),
            loaded: loaded.take(MAX_PIECES).collect(),
            data,
            relocations,
            zeroed,
        })
    }

    /// From this address to the end of what is loaded with it.
    pub(super) fn at(&self, address: u64) -> Option<Window> {
        let mut found = self.loaded.iter().filter_map(|piece| piece.from(address));
        found.next()
    }
}

fn piece<'a>(section: &impl ObjectSection<'a>) -> Option<Piece> {
    let (offset, size) = section.file_range()?;
    Some(Piece {
        address: section.address(),
        window: Window { offset, size },
    })
}
