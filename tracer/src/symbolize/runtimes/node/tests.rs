//! Memory that lies: whatever it holds, looking ends, and nothing is told that did not prove itself.

use super::*;
use crate::model::listeners::WhyUnheard;
use crate::symbolize::runtimes::memory::MAX_PAGES;

use super::layout::{Map, Types};

/// As Node 20 has it.
fn layout() -> Layout {
    Layout {
        persistent: 8,
        map: Map {
            kind: 12,
            size: 8,
            in_object: 9,
            bits: 16,
            is_dictionary: 21,
            own_mask: 0xf_fc00,
            own_shift: 10,
            descriptors: 40,
        },
        properties: 8,
        elements: 16,
        embedder: 24,
        array_data: 16,
        descriptors: 24,
        dictionary_prefix: 6,
        index_mask: 0x1ff8_0000,
        index_shift: 19,
        oddball_kind: 40,
        is_true: 1,
        is_undefined: 5,
        is_null: 3,
        length: 12,
        chars: 16,
        external: 16,
        symbol_name: 16,
        shared: 24,
        name_or_scope: 16,
        script: 32,
        script_name: 16,
        script_source: 8,
        uncompiled: [16, 20],
        first_variable: 3,
        frames: true,
        types: Types {
            map: 255,
            descriptors: [236, 237],
            property_array: 259,
            swiss: 266,
            oddball: 131,
            symbol: 128,
            array: 2113,
            object: 1057,
            function: 2066,
            bound: 2064,
            shared: 262,
            script: 167,
            scope: 261,
            uncompiled: vec![240],
        },
    }
}

/// Of this test.
fn image() -> Image {
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let id = FileId::of(&file).unwrap();
    Image::parse(file, id).unwrap()
}

/// Looks for one socket in memory that is made as it is asked for; how many pages that took.
fn look(mut page: impl FnMut(u64) -> Vec<u8>, variables: Range<u64>) -> (Vec<Heard>, usize) {
    let mut pages = 0;
    let mut fetch = |asked: &[u64]| {
        pages += asked.len();
        asked.iter().map(|at| Some(page(*at))).collect()
    };
    let mut memory = Memory::new(&mut fetch).with_room(MAX_PAGES);
    let node = Node {
        image: Arc::new(image()),
        layout: layout(),
        variables: vec![variables],
    };
    assert_eq!(anchor::isolate(&mut memory, &node.variables, 272), None);
    let found = node.listeners(&mut memory, &[7, 8]);
    drop(memory);
    (found, pages)
}

fn words(word: impl FnMut(u64) -> u64) -> Vec<u8> {
    (0..512).map(word).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn lists_without_an_end_end() {
    // Every word points to itself, to the next one, or to the next page: queues, maps and strings are circles.
    for step in [0, 8, 4096] {
        for tag in [0, 1] {
            let (found, pages) = look(
                |at| words(|number| (at + number * 8 + step) | tag),
                0x10_0000..0x14_0000,
            );
            assert!(
                found.iter().all(|one| matches!(one, Heard::Unknown(_))),
                "{found:?}"
            );
            assert!(pages <= MAX_PAGES);
        }
    }
}

#[test]
fn garbage_is_no_socket() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..64 {
        let (found, pages) = look(
            |at| {
                words(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    // Half of the words lead somewhere near.
                    if state & 8 == 0 {
                        state
                    } else {
                        at + (state >> 40 & 0xffff)
                    }
                })
            },
            0x10_0000..0x12_0000,
        );
        assert!(found.iter().all(|one| matches!(one, Heard::Unknown(_))));
        assert!(pages <= MAX_PAGES);
    }
}

/// An event loop with one handle for descriptor 7, all of whose pointers lead to one page of the same word.
#[test]
fn a_handle_that_leads_to_nothing_is_not_believed() {
    const BASE: u64 = 0x10_0000;
    const HANDLE: u64 = 0x20_0000;
    let page = |at: u64| match at {
        BASE => words(|number| match number * 8 {
            16 | 24 => HANDLE + 32,
            64 => 5,
            72 | 80 => BASE + 72,
            _ => 0,
        }),
        HANDLE => words(|number| match number * 8 {
            0 => 0x30_0000,
            8 => BASE,
            16 => 12,
            32 | 40 => BASE + 16,
            184 => 7,
            _ => 0,
        }),
        _ => words(|_| 0x40_0001),
    };
    let (found, _) = look(page, BASE..BASE + 4096);
    let expected = [WhyUnheard::Unproven, WhyUnheard::NoHandle].map(Heard::Unknown);
    assert_eq!(found, expected);
}

#[test]
fn joined_strings_that_hold_themselves_end() {
    // One map for all, of joined strings and of itself in turn, each of whose halves is the string again.
    let map = |at: u64| at == 0x10_0000;
    let page = |at: u64| {
        words(|number| match (map(at), number) {
            (true, 0) => 0x10_0001,
            (true, 1) => 255 << 32,
            (false, 0) => 0x11_0001,
            (false, 1) => 1 << 62,
            _ => 0x20_0001,
        })
    };
    // The map of strings, whose own map is the one of maps.
    let page = |at: u64| {
        if at == 0x11_0000 {
            words(|number| match number {
                0 => 0x10_0001,
                1 => 33 << 32,
                _ => 0,
            })
        } else {
            page(at)
        }
    };
    let mut fetch = |asked: &[u64]| asked.iter().map(|at| Some(page(*at))).collect();
    let mut memory = Memory::new(&mut fetch).with_room(MAX_PAGES);
    let layout = layout();
    let mut heap = Heap::new(&mut memory, &layout);
    assert!(heap.is_text(0x20_0001));
    assert_eq!(heap.text(0x20_0001, 64), None);
}
