//! One ELF file as the unwinder needs it: where its code lies and how to leave each function.
//! Reads headers and unwind sections only; symbols are read when a name is asked for.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use object::read::elf::{ElfFile64, ProgramHeader};
use object::{Endianness, Object, ObjectSection, ReadCache, elf};

use super::go;
use super::names::Place;
use super::open::FileId;
use super::runtimes::Exports;
use super::symbols;
use super::tables::{self, Sections};

/// The largest browsers have 20 MiB of `.eh_frame`.
const MAX_SECTION: u64 = 128 << 20;
const MAX_LOADS: usize = 64;

pub(super) type Bytes = Arc<[u8]>;

/// A `PT_LOAD` segment: which addresses the linker gave to which bytes of the file.
struct Load {
    executable: bool,
    offset: u64,
    file_size: u64,
    address: u64,
}

pub(super) struct Image {
    /// Kept open: the symbols may be wanted when the process and the path are gone.
    pub file: File,
    pub id: FileId,
    /// Of the process's root and of the host's, and not yet known to be for this build.
    pub debug_files: [OnceLock<File>; 2],
    pub build_id: Option<String>,
    /// Go keeps frame pointers, has no `.eh_frame` and ends its chains with a zero.
    pub go: Option<go::Program>,
    /// Where a program starts; libraries have none.
    pub entry: Option<u64>,
    /// Lowest address of the image; framehop's tables are relative to it.
    pub base: u64,
    pub sections: Sections,
    /// What interpreters show of themselves; looked for once for all processes.
    pub exports: OnceLock<Exports>,
    /// From an isolate of V8 to where that notes how JavaScript was left (`runtimes::node`); the same.
    pub javascript: OnceLock<Option<u64>>,
    loads: Vec<Load>,
}

impl Image {
    /// The reason names a kind of failure, never what is in the file.
    pub(super) fn parse(file: File, id: FileId) -> Result<Self, &'static str> {
        let cache = ReadCache::new(file.try_clone().map_err(|_| "no file descriptor left")?);
        let elf = ElfFile64::<Endianness, _>::parse(&cache).map_err(|_| "not a 64-bit ELF")?;
        if elf.elf_header().e_machine.get(elf.endian()) != NATIVE_MACHINE {
            return Err("another architecture");
        }
        let endian = elf.endian();
        let headers = elf.elf_program_headers().iter();
        let loads: Vec<Load> = headers
            .filter(|header| header.p_type(endian) == elf::PT_LOAD)
            .take(MAX_LOADS)
            .map(|header| Load {
                executable: header.p_flags(endian) & elf::PF_X != elf::ProgramFlags(0),
                offset: header.p_offset(endian),
                file_size: header.p_filesz(endian),
                address: header.p_vaddr(endian),
            })
            .collect();
        let base = loads.iter().map(|load| load.address).min();
        let base = base.ok_or("no loadable segment")? & !0xfff;
        Ok(Self {
            build_id: build_id(elf.build_id()),
            go: go::Program::of(&elf),
            entry: Some(elf.entry()).filter(|entry| *entry != 0),
            base,
            sections: tables::without_unchecked(unwind_sections(&elf, base)),
            loads,
            file,
            id,
            exports: OnceLock::new(),
            javascript: OnceLock::new(),
            debug_files: Default::default(),
        })
    }

    /// An image that exists only in memory (the vDSO), put into a file of our own so that
    /// everything else has one way to read.
    pub(super) fn from_memory(bytes: &[u8]) -> Result<Self, &'static str> {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let fd = rustix::fs::memfd_create("sockleak-image", flags).map_err(|_| "no memory file")?;
        let mut file = File::from(fd);
        file.write_all(bytes).map_err(|_| "no memory file")?;
        let id = FileId::of(&file).map_err(|_| "no memory file")?;
        Self::parse(file, id)
    }

    /// What can be said of an address in the file without reading debug information: nothing, or the functions there,
    /// innermost first.
    pub(super) fn cheap_places(&self, address: u64) -> Vec<Place> {
        match &self.go {
            Some(go) => go.places(&self.file, self.id, address).unwrap_or_default(),
            None => symbols::place(&self.file, self.id, address)
                .into_iter()
                .collect(),
        }
    }

    /// Where in the file its code lies.
    pub(super) fn code(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let code = self.loads.iter().filter(|load| load.executable);
        code.map(|load| load.offset..load.offset.saturating_add(load.file_size))
    }

    /// How far a mapping that starts at `start` with the file's byte `offset` was moved from the
    /// addresses in the ELF file; wraps for images linked above where they run.
    pub(super) fn bias(&self, start: u64, offset: u64) -> Option<u64> {
        // The kernel maps whole pages: the mapping may begin up to a page before the segment, in a
        // page that lld shares with the read-only segment before it.
        let mut code = self.loads.iter().filter(|load| load.executable);
        let load = code.find(|load| {
            let first = load.offset & !0xfff;
            offset >= first && offset < load.offset.saturating_add(load.file_size)
        })?;
        let linked = load.address.wrapping_sub(load.offset).wrapping_add(offset);
        Some(start.wrapping_sub(linked))
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE_MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE_MACHINE: elf::Machine = elf::EM_AARCH64;

type Elf<'a> = ElfFile64<'a, Endianness, &'a ReadCache<File>>;

fn build_id(note: object::Result<Option<&[u8]>>) -> Option<String> {
    use std::fmt::Write;

    let bytes = note.ok().flatten()?;
    // SHA-1 has 20 bytes, Go and others up to 83; anything longer is not an identifier.
    if bytes.is_empty() || bytes.len() > 128 {
        return None;
    }
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(hex, "{byte:02x}").ok()?;
    }
    Some(hex)
}

fn unwind_sections(elf: &Elf<'_>, base: u64) -> Sections {
    let range = |name: &str| {
        let section = elf.section_by_name(name)?;
        Some(section.address()..section.address().checked_add(section.size())?)
    };
    let data = |name: &str| -> Option<Bytes> {
        let section = elf.section_by_name(name)?;
        // A compressed .debug_frame is left alone: its stated size is not to be trusted.
        let plain = section.compressed_file_range().ok()?.format == object::CompressionFormat::None;
        let bytes = (plain && section.size() <= MAX_SECTION).then(|| section.data().ok())??;
        (!bytes.is_empty()).then(|| bytes.into())
    };
    let eh_frame = data(".eh_frame");
    // version 1, table of (sdata4, relative to the section): the only form with a sorted index.
    let sorted = |hdr: &Bytes| hdr.first() == Some(&1) && hdr.get(3) == Some(&0x3b);
    let eh_frame_hdr = data(".eh_frame_hdr").filter(sorted);
    let debug_frame = if eh_frame.is_none() {
        data(".debug_frame")
    } else {
        None
    };
    Sections {
        base_svma: base,
        text_svma: range(".text"),
        got_svma: range(".got"),
        eh_frame_svma: range(".eh_frame"),
        eh_frame_hdr_svma: range(".eh_frame_hdr"),
        eh_frame,
        eh_frame_hdr,
        debug_frame,
        ..Default::default()
    }
}
