//! Addresses that a file exports by name: what a runtime shows to debuggers, in stripped files too; and where its
//! variables are.

use std::fs::File;
use std::ops::Range;

use crate::symbolize::image::Image;
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, ReadCache, StringTable, elf};

/// Node exports 40,000.
const MAX_SYMBOLS: usize = 1 << 20;

/// What interpreters are found by.
pub(in crate::symbolize) struct Exports {
    /// `_PyRuntime`, `PyCode_Type` and `Py_Version`.
    pub(super) python: [Option<u64>; 3],
    /// `ruby_current_vm_ptr`, `ruby_version` and `rb_vm_exec`.
    pub(super) ruby: [Option<u64>; 3],
    /// `module_registry`, `executor_globals` and `sapi_module`.
    pub(super) php: [Option<u64>; 3],
}

impl Exports {
    pub(super) fn of(image: &Image) -> &Self {
        const NAMES: [&str; 9] = [
            "_PyRuntime",
            "PyCode_Type",
            "Py_Version",
            "ruby_current_vm_ptr",
            "ruby_version",
            "rb_vm_exec",
            "module_registry",
            "executor_globals",
            "sapi_module",
        ];
        image.exports.get_or_init(|| {
            let [
                runtime,
                code_type,
                version,
                machine,
                release,
                execution,
                modules,
                executor,
                server,
            ] = find(&image.file, NAMES);
            Self {
                python: [runtime, code_type, version],
                ruby: [machine, release, execution],
                php: [modules, executor, server],
            }
        })
    }
}

/// For each name the address in the ELF file; `None` for what the file does not define itself.
pub(super) fn find<const N: usize>(file: &File, names: [&str; N]) -> [Option<u64>; N] {
    search(file, names).unwrap_or([None; N])
}

/// All that begin like this, with their addresses in the ELF file.
pub(super) fn beginning_with(file: &File, prefixes: &[&str]) -> Option<Vec<(String, u64)>> {
    /// V8 has some 550.
    const MOST: usize = 4096;
    let mut found = Vec::new();
    each(file, |name, address| {
        let wanted = prefixes
            .iter()
            .any(|prefix| name.starts_with(prefix.as_bytes()));
        if wanted && found.len() < MOST {
            found.push((String::from_utf8_lossy(name).into_owned(), address));
        }
    })?;
    Some(found)
}

/// Where the ELF file's variables lie.
pub(super) fn writable(file: &File) -> Vec<Range<u64>> {
    const MOST: usize = 8;
    let Ok(file) = file.try_clone() else {
        return Vec::new();
    };
    let cache = ReadCache::new(file);
    let Ok(elf) = ElfFile64::<Endianness, _>::parse(&cache) else {
        return Vec::new();
    };
    let endian = elf.endian();
    let headers = elf.elf_program_headers().iter();
    headers
        .filter(|header| header.p_type(endian) == elf::PT_LOAD)
        .filter(|header| header.p_flags(endian) & elf::PF_W != elf::ProgramFlags(0))
        .map(|header| {
            let start = header.p_vaddr(endian);
            start..start.saturating_add(header.p_memsz(endian))
        })
        .take(MOST)
        .collect()
}

fn search<const N: usize>(file: &File, names: [&str; N]) -> Option<[Option<u64>; N]> {
    let mut found = [None; N];
    each(file, |name, address| {
        let place = names.iter().position(|wanted| wanted.as_bytes() == name);
        if let Some(place) = place.and_then(|place| found.get_mut(place)) {
            *place = Some(address);
        }
    })?;
    Some(found)
}

fn each(file: &File, mut tell: impl FnMut(&[u8], u64)) -> Option<()> {
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
    for symbol in table.iter().take(MAX_SYMBOLS) {
        if symbol.is_undefined(endian) {
            continue;
        }
        if let Ok(name) = symbol.name(endian, strings) {
            tell(name, symbol.st_value(endian));
        }
    }
    Some(())
}
