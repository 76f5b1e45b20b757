//! A private copy of the parts of an ELF file that names come from, with holes for the rest.
//!
//! blazesym maps the files it is given: a mapped file that its owner truncates raises SIGBUS here,
//! and links inside the file (`.gnu_debuglink` and relatives) would choose paths for us to open.
//! The copy belongs to nobody else and keeps only sections that hold symbols and DWARF.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Names of the sections to keep; the others lose name and contents, so that no link survives.
const SYMBOLS: [&[u8]; 5] = [b".symtab", b".strtab", b".dynsym", b".dynstr", b".shstrtab"];
const DWARF_PREFIX: &[u8] = b".debug_";
/// Links to other files that share the prefix.
const DWARF_LINKS: [&[u8]; 2] = [b".debug_sup", b".debug_gdb_scripts"];

const HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
const MAX_SECTION_NAMES: u64 = 4 << 20;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 0x800;

pub(super) struct Shadow {
    pub file: File,
    /// Bytes copied, all of them memory.
    pub size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    SymbolsAndDwarf,
    Symbols,
}

/// Copies at most `limit` bytes; fails when that is not enough.
pub(super) fn copy(from: &File, want: Want, limit: u64) -> Result<Shadow, &'static str> {
    let mut header = [0; HEADER];
    read(from, &mut header, 0)?;
    let table_offset = u64_at(&header, 40)?;
    let sections = usize::from(u16_at(&header, 60)?);
    let names_index = usize::from(u16_at(&header, 62)?);
    if usize::from(u16_at(&header, 58)?) != SECTION_HEADER || sections == 0 {
        return Err("no section table");
    }
    let mut table = vec![0; sections * SECTION_HEADER];
    read(from, &mut table, table_offset)?;
    let names = section_names(from, &table, names_index)?;

    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let memory = rustix::fs::memfd_create("sockleak-symbols", flags);
    let file = File::from(memory.map_err(|_| "no memory file")?);
    let mut size = 0_u64;
    for section in table.chunks_exact_mut(SECTION_HEADER) {
        let name = name_at(&names, u32_at(section, 0)?);
        if !wanted(name, want) {
            put(section, 0, &0_u32.to_le_bytes());
            put(section, 4, &SHT_NOBITS.to_le_bytes());
        } else if u32_at(section, 4)? != SHT_NOBITS {
            let (offset, length) = (u64_at(section, 24)?, u64_at(section, 32)?);
            size = size.saturating_add(length);
            let unpacked = unpacked_size(from, section)?;
            if size > limit || unpacked > limit {
                return Err("larger than the limit");
            }
            copy_range(from, &file, offset, length)?;
        }
    }
    write(&file, &header, 0)?;
    write(&file, &table, table_offset)?;
    Ok(Shadow { file, size })
}

fn wanted(name: &[u8], want: Want) -> bool {
    let dwarf = name.starts_with(DWARF_PREFIX) && !DWARF_LINKS.contains(&name);
    SYMBOLS.contains(&name) || (dwarf && want == Want::SymbolsAndDwarf)
}

/// What a compressed section says it will become. The stream may lie; the helper's memory limit is
/// what holds then.
fn unpacked_size(from: &File, section: &[u8]) -> Result<u64, &'static str> {
    if u64_at(section, 8)? & SHF_COMPRESSED == 0 {
        return Ok(0);
    }
    let mut header = [0; 24];
    read(from, &mut header, u64_at(section, 24)?)?;
    u64_at(&header, 8)
}

fn section_names(from: &File, table: &[u8], index: usize) -> Result<Vec<u8>, &'static str> {
    let section = table.chunks_exact(SECTION_HEADER).nth(index);
    let section = section.ok_or("no section names")?;
    let length = u64_at(section, 32)?;
    if length > MAX_SECTION_NAMES {
        return Err("larger than the limit");
    }
    let mut names = vec![0; length as usize];
    read(from, &mut names, u64_at(section, 24)?)?;
    Ok(names)
}

fn name_at(names: &[u8], offset: u32) -> &[u8] {
    let rest = names.get(offset as usize..).unwrap_or_default();
    rest.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn copy_range(from: &File, to: &File, offset: u64, length: u64) -> Result<(), &'static str> {
    let mut buffer = vec![0; length.min(1 << 18) as usize];
    let mut done = 0;
    while done < length {
        let piece = (length - done).min(buffer.len() as u64) as usize;
        let piece = buffer.get_mut(..piece).unwrap_or_default();
        let at = offset.checked_add(done).ok_or("damaged section table")?;
        read(from, piece, at)?;
        write(to, piece, at)?;
        done += piece.len() as u64;
    }
    Ok(())
}

fn read(file: &File, buffer: &mut [u8], offset: u64) -> Result<(), &'static str> {
    let result = file.read_exact_at(buffer, offset);
    result.map_err(|_| "shorter than its headers say")
}

fn write(file: &File, bytes: &[u8], offset: u64) -> Result<(), &'static str> {
    file.write_all_at(bytes, offset)
        .map_err(|_| "no memory for a copy")
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], &'static str> {
    let field = bytes
        .get(at..at + N)
        .and_then(|field| field.try_into().ok());
    field.ok_or("damaged header")
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, &'static str> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, &'static str> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, &'static str> {
    array(bytes, at).map(u64::from_le_bytes)
}
