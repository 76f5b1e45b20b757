//! The functions of a file by address, from its symbol table alone: enough to tell whose code an address is before
//! anything is named, without reading debug information.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use object::read::elf::{ElfFile64, SectionHeader as _, Sym as _};
use object::{Endianness, Object as _, ObjectSymbol as _, ReadCache, SymbolKind};

use super::demangle::readable;
use super::names::Place;
use super::open::FileId;

/// Of larger ones nothing is read: 700,000 functions.
const MAX_TABLE: u64 = 16 << 20;
/// Tables that are kept, for an address is seldom asked about alone: not one of each file, of which there are hundreds.
const KEPT: usize = 4;
/// How names begin that compilers of C++ and of Rust give to functions, with their namespaces and crates.
const MANGLED: [&str; 2] = ["_Z", "_R"];
/// Nothing is said of a function with a longer name.
const MAX_NAME: usize = 4096;

/// The last one that was asked is the last here; `None` of a file without.
static RECENT: Mutex<VecDeque<(FileId, Option<Arc<Symbols>>)>> = Mutex::new(VecDeque::new());

/// What the table of this file says of an address in its address space.
pub(super) fn place(file: &File, id: FileId, address: u64) -> Option<Place> {
    recent(file, id)?.at(file, id, address)
}

fn recent(file: &File, id: FileId) -> Option<Arc<Symbols>> {
    let mut recent = RECENT.lock().unwrap_or_else(PoisonError::into_inner);
    let at = recent.iter().position(|(known, _)| *known == id);
    let known = at.and_then(|at| recent.remove(at));
    let (_, symbols) = known.unwrap_or_else(|| (id, Symbols::of(file).map(Arc::new)));
    if recent.len() >= KEPT {
        recent.pop_front();
    }
    recent.push_back((id, symbols.clone()));
    symbols
}

struct Symbols {
    /// By address.
    functions: Vec<Function>,
    /// Where in the file the names are.
    names: u64,
}

struct Function {
    address: u64,
    size: u32,
    name: u32,
}

impl Symbols {
    /// None where the file has no symbol table, or one that is too large.
    fn of(file: &File) -> Option<Self> {
        let cache = ReadCache::new(file.try_clone().ok()?);
        let elf = ElfFile64::<Endianness, _>::parse(&cache).ok()?;
        let (endian, sections) = (elf.endian(), elf.elf_section_table());
        let table = elf.elf_symbol_table();
        let header = sections.section(table.section()).ok()?;
        if table.is_empty() || header.sh_size(endian) > MAX_TABLE {
            return None;
        }
        let names = sections.section(table.string_section()).ok()?;
        let mut functions: Vec<Function> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .map(|symbol| Function {
                address: symbol.address(),
                size: symbol.size().try_into().unwrap_or(u32::MAX),
                name: symbol.elf_symbol().st_name(endian),
            })
            .collect();
        functions.sort_unstable_by_key(|function| function.address);
        let names = names.sh_offset(endian);
        Some(Self { functions, names })
    }

    fn at(&self, file: &File, id: FileId, address: u64) -> Option<Place> {
        let after = self
            .functions
            .partition_point(|function| function.address <= address);
        let function = self.functions.get(after.checked_sub(1)?)?;
        if address - function.address >= u64::from(function.size) {
            return None;
        }
        let mut bytes = [0; MAX_NAME];
        let at = self.names.checked_add(function.name.into())?;
        let read = file.read_at(&mut bytes, at).ok()?;
        let end = bytes.get(..read)?.iter().position(|byte| *byte == 0)?;
        let name = str::from_utf8(bytes.get(..end)?).ok()?;
        // Names of C do not say whose a function is, and `_start` is nobody's.
        if !MANGLED.iter().any(|prefix| name.starts_with(prefix)) {
            return None;
        }
        // What was read piece by piece is of one version.
        let place = Place {
            function: Some(readable(name)),
            ..Place::default()
        };
        (FileId::of(file) == Ok(id)).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_functions_of_this_program_have_the_names_that_they_have() {
        let file = File::open("/proc/self/exe").expect("this program");
        let id = FileId::of(&file).expect("its identity");
        let symbols = Symbols::of(&file).expect("its symbols");
        assert!(symbols.functions.len() > 1000);
        let named = |address| symbols.at(&file, id, address)?.function;
        let is_of_this = |function: &&Function| {
            named(function.address).is_some_and(|name| name.ends_with("symbols::Symbols::of"))
        };
        let of = symbols.functions.iter().find(is_of_this).expect("itself");
        assert_eq!(
            named(of.address + u64::from(of.size) - 1),
            named(of.address)
        );
        assert_ne!(named(of.address + u64::from(of.size)), named(of.address));
        assert_eq!(named(0), None);
        // Of the C library's, that every program begins with.
        let entry = ElfFile64::<Endianness, _>::parse(&ReadCache::new(
            file.try_clone().expect("another descriptor"),
        ))
        .map(|elf| elf.entry())
        .expect("its entry");
        assert_eq!(named(entry), None);
        let other = FileId::of(&File::open("/proc/self/maps").expect("maps")).expect("another");
        assert!(symbols.at(&file, other, of.address).is_none());
        assert!(place(&file, id, of.address).is_some());
    }

    #[test]
    fn no_more_tables_are_kept_than_the_bound() {
        let file = File::open("/proc/self/exe").expect("this program");
        let others = ["maps", "stat", "status", "comm", "limits", "cmdline"];
        for name in others {
            let other = File::open(format!("/proc/self/{name}")).expect("another file");
            recent(&file, FileId::of(&other).expect("its identity"));
        }
        let recent = RECENT.lock().expect("the tables");
        assert!(others.len() > KEPT && recent.len() == KEPT);
    }
}
