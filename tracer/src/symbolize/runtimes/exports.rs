//! Addresses that a file exports by name: what a runtime shows to debuggers, in stripped files too.

use std::fs::File;

use object::read::elf::{ElfFile64, SectionHeader, Sym};
use object::{Endianness, ReadCache, StringTable};

/// Node exports 40,000.
const MAX_SYMBOLS: usize = 1 << 20;

/// For each name the address in the ELF file; `None` for what the file does not define itself.
pub(super) fn find<const N: usize>(file: &File, names: [&str; N]) -> [Option<u64>; N] {
    search(file, names).unwrap_or([None; N])
}

fn search<const N: usize>(file: &File, names: [&str; N]) -> Option<[Option<u64>; N]> {
    let cache = ReadCache::new(file.try_clone().ok()?);
    let elf = ElfFile64::<Endianness, _>::parse(&cache).ok()?;
    let endian = elf.endian();
    let table = elf.elf_dynamic_symbol_table();
    // As one piece: each name by itself would be two system calls.
    let strings = elf
        .elf_section_table()
        .section(table.string_section())
        .ok()?;
    let strings = strings.data(endian, &cache).ok()?;
    let strings = StringTable::new(strings, 0, strings.len() as u64);
    let mut found = [None; N];
    for symbol in table.iter().take(MAX_SYMBOLS) {
        if symbol.is_undefined(endian) {
            continue;
        }
        let Ok(name) = symbol.name(endian, strings) else {
            continue;
        };
        let place = names.iter().position(|wanted| wanted.as_bytes() == name);
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = Some(symbol.st_value(endian));
        }
    }
    Some(found)
}
