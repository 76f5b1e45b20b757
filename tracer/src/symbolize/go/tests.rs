//! A real Go program's table, as it is and damaged.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use object::Endianness;
use object::read::elf::ElfFile64;
use proptest::prelude::*;

use super::header::{Header, Version};
use super::layout::Layout;
use super::window::{Source, Window};
use super::{Leave, Table, values};

impl Source for Vec<u8> {
    fn read(&self, buffer: &mut [u8], at: u64) -> Option<()> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.get(at..at.checked_add(buffer.len())?)?;
        buffer.copy_from_slice(bytes);
        Some(())
    }
}

const PROGRAM: &str = r"
package main

import (
	`fmt`
	`os`
)

type Pool[T any] struct{ item T }

//go:noinline
func (p *Pool[T]) take() T { return p.item }

func ask(b []byte) int {
	n, _ := os.Stdin.Read(b)
	return n
}

//go:noinline
func serve(p *Pool[int]) int {
	return ask(make([]byte, 8)) + p.take()
}

func main() { fmt.Println(serve(&Pool[int]{})) }
";

/// With the symbols, which say what the table is to say.
static GO: LazyLock<Vec<u8>> = LazyLock::new(|| build(&[]));

fn build(options: &[&str]) -> Vec<u8> {
    let dir = tempfile::TempDir::new().unwrap();
    fs::write(dir.path().join("main.go"), PROGRAM.replace('`', "\"")).unwrap();
    let mut go = Command::new("go");
    go.current_dir(dir.path())
        .env("CGO_ENABLED", "0")
        .args(["build", "-o", "program"])
        .args(options)
        .arg("main.go");
    assert!(go.status().unwrap().success());
    fs::read(dir.path().join("program")).unwrap()
}

fn layout(program: &[u8]) -> Option<Layout> {
    let elf = ElfFile64::<Endianness>::parse(program).ok()?;
    Layout::of(&elf)
}

fn table(program: &Vec<u8>) -> Option<Table> {
    Table::find(program, &layout(program)?)
}

#[test]
fn the_table_agrees_with_the_symbols() {
    use object::{Object as _, ObjectSymbol as _};

    let table = table(&GO).unwrap();
    assert!(table.trees.is_some());
    let elf = ElfFile64::<Endianness>::parse(GO.as_slice()).unwrap();
    let mut compared = 0;
    for symbol in elf.symbols() {
        let name = symbol.name().unwrap();
        // Symbols spell types and versions of the calling convention out, the table does not.
        let plain = symbol.size() > 0 && !name.contains(['[', ';']) && name.contains('.');
        if symbol.kind() != object::SymbolKind::Text || !plain || name.contains(".abi0") {
            continue;
        }
        let places = table.places(&*GO, symbol.address());
        let Some(place) = places.as_ref().and_then(|places| places.last()) else {
            continue;
        };
        assert_eq!(place.function.as_deref(), Some(name), "{places:?}");
        compared += 1;
    }
    assert!(compared > 1000, "{compared}");
}

#[test]
fn inlined_calls_have_names_and_places_of_their_own() {
    let table = table(&GO).unwrap();
    let serve = (0..table.header.functions).find_map(|number| {
        let function = super::Function::numbered(&*GO, &table.header, table.text, number)?;
        (function.name(&*GO, &table.header)? == "main.serve").then_some(function.range)
    });
    let mut nests = serve.unwrap().filter_map(|pc| table.places(&*GO, pc));
    let nest = nests.find(|places| {
        let first = places.first();
        let inlined = first.filter(|place| place.line == Some(15));
        inlined.is_some_and(|place| place.function.as_deref() == Some("main.ask"))
    });
    let seen: Vec<_> = nest.as_ref().unwrap().iter().collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].inlined);
    assert!(!seen[1].inlined);
    assert_eq!(seen[1].function.as_deref(), Some("main.serve"));
    assert_eq!(seen[1].line, Some(21));
    assert!(seen[1].file.as_deref().unwrap().ends_with("main.go"));
}

#[test]
fn a_position_independent_stripped_program_says_the_same() {
    let program = build(&["-buildmode=pie", "-ldflags=-s -w"]);
    let table = table(&program).unwrap();
    assert!(table.trees.is_some());
    let mut names = (0..table.header.functions).filter_map(|number| {
        let function = super::Function::numbered(&program, &table.header, table.text, number)?;
        let address = function.range.start;
        assert!(table.leave(&program, address).is_some());
        table.places(&program, address)?.pop()?.function
    });
    // Without the shape that the symbol spells out.
    assert!(names.any(|name| name == "main.(*Pool[...]).take"));
}

#[test]
fn the_first_functions_of_a_goroutine_end_the_stack() {
    let table = table(&GO).unwrap();
    let mut ends = (0..table.header.functions).filter_map(|number| {
        let function = super::Function::numbered(&*GO, &table.header, table.text, number)?;
        let leave = table.leave(&*GO, function.range.start)?;
        (leave == Leave::Outermost).then(|| function.name(&*GO, &table.header))?
    });
    assert!(ends.any(|name| name == "runtime.goexit"));
}

/// The layout of 1.16 and 1.17, which has addresses where later ones have offsets: two functions of
/// 16 bytes, the second one called `main.b`.
#[test]
fn the_layout_of_1_16_is_read() {
    let mut bytes = Vec::new();
    let put = |bytes: &mut Vec<u8>, words: &[u64]| {
        for word in words {
            bytes.extend(word.to_le_bytes());
        }
    };
    put(&mut bytes, &[0x0801_0000_ffff_fffa, 2, 1]);
    let (names, units, files, values, records) = (64_u64, 80, 84, 96, 112);
    put(&mut bytes, &[names, units, files, values, records]);
    bytes.extend(b"\0main.a\0main.b\0");
    bytes.resize(units as usize, 0);
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(b"\0/src/b.go\0");
    bytes.resize(values as usize, 0);
    // Line 7 for 16 bytes: from -1 up by 8.
    bytes.extend([0, 16, 16, 0, 2, 16, 0]);
    bytes.resize(records as usize, 0);
    put(&mut bytes, &[0x1000, 40, 0x1010, 84, 0x1020]);
    for (entry, name) in [(0x1000_u64, 1_u32), (0x1010, 8)] {
        bytes.extend(entry.to_le_bytes());
        for word in [name, 0, 0, 0, 4, 1, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 4]);
    }
    let size = bytes.len() as u64;
    let header = Header::read(&bytes, Window { offset: 0, size }).unwrap();
    assert_eq!(header.version, Version::Go1_16);
    let table = Table {
        header,
        text: 0,
        trees: None,
    };
    let found = table.places(&bytes, 0x1018).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].function.as_deref(), Some("main.b"));
    assert_eq!(found[0].file.as_deref(), Some("/src/b.go"));
    assert_eq!(found[0].line, Some(7));
    assert_eq!(table.places(&bytes, 0x1020), None);
    assert_eq!(table.leave(&bytes, 0x1018), None);
}

#[test]
fn tables_that_stand_still_or_never_end_are_given_up() {
    let at = |bytes: Vec<u8>| {
        let size = bytes.len() as u64;
        let window = Window { offset: 0, size };
        values::at(&bytes, window, 0, 1, 0..u64::MAX, u64::MAX - 1)
    };
    assert_eq!(at([2, 0].repeat(100)), None);
    assert_eq!(at([2, 1].repeat(4 << 20)), None);
    assert_eq!(at(vec![0x80; 100]), None);
    assert_eq!(at(vec![2]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the file says: an answer or none, within bounds.
    #[test]
    fn damaged_programs_neither_panic_nor_hang(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64),
        in_table in any::<bool>(),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut program = GO.clone();
        let piece = layout(&program).unwrap().table.unwrap();
        let (start, size) = (piece.window.offset as usize, piece.window.size as usize);
        for (index, byte) in damage {
            let at = if in_table {
                // The head and the index decide where everything else is.
                let near = [128, 4096, size][index.index(3)];
                start + index.index(near)
            } else {
                index.index(program.len())
            };
            program[at] = byte;
        }
        if !in_table {
            program.truncate(keep.index(program.len()));
        }
        if let Some(table) = table(&program) {
            for number in (0..table.header.functions.min(2000)).step_by(97) {
                let function = super::Function::numbered(&program, &table.header, table.text, number);
                let Some(function) = function else { continue };
                let middle = function.range.start.midpoint(function.range.end);
                for address in [function.range.start, middle] {
                    for place in table.places(&program, address).unwrap_or_default() {
                        prop_assert!(place.function.is_none_or(|name| name.len() <= 512));
                    }
                    table.leave(&program, address);
                }
            }
        }
    }
}
