//! The record that the Go linker leaves for the runtime. It is the only thing that says where code
//! begins (since 1.26) and where the trees of inlined calls are. Its layout changes from release to
//! release, so it is found and read by what must be true of it.

use super::function::Function;
use super::header::{Header, Version};
use super::inline::Call;
use super::layout::{Layout, Piece};
use super::window::{Source, Window};

/// Words looked at; the latest known layout needs 44.
const WORDS: usize = 48;
/// The reference to the trees comes after these in all layouts.
const FIRST_REFERENCE: usize = 32;
const MAX_CANDIDATES: usize = 16;
/// Functions whose trees must be plausible before a place is believed to hold them.
const SAMPLES: usize = 16;
const LOOKED_AT: u64 = 4096;

const RELOCATION: usize = 24;
#[cfg(target_arch = "x86_64")]
const RELATIVE: u64 = 8;
#[cfg(target_arch = "aarch64")]
const RELATIVE: u64 = 1027;

pub(super) struct Module {
    pub text: u64,
    pub trees: Option<Window>,
}

struct Candidate {
    address: u64,
    words: [u64; WORDS],
}

pub(super) fn find(
    source: &impl Source,
    layout: &Layout,
    table: Piece,
    header: &Header,
) -> Option<Module> {
    let mut candidates = Vec::new();
    for data in &layout.data {
        scan_data(source, data, table.address, &mut candidates);
    }
    each_relocation(source, layout, |at, value| {
        if value == table.address {
            candidates.push(at);
        }
    });
    candidates.truncate(MAX_CANDIDATES);
    let read = |address: &u64| {
        let words = stored(source, layout, *address)?;
        let address = *address;
        Some(Candidate { address, words })
    };
    let mut candidates: Vec<Candidate> = candidates.iter().filter_map(read).collect();
    each_relocation(source, layout, |at, value| {
        for candidate in &mut candidates {
            let word = at.wrapping_sub(candidate.address) / 8;
            if let Some(word) = candidate.words.get_mut(word as usize) {
                *word = value;
            }
        }
    });
    let found = candidates
        .iter()
        .find(|candidate| is_module(candidate, table.address, header))?;
    let [text, _] = words(found, 22)?;
    let mut references = found.words.iter().skip(FIRST_REFERENCE);
    let trees = references.find_map(|address| {
        let window = layout.at(*address)?;
        holds_trees(source, header, text, window).then_some(window)
    });
    Some(Module { text, trees })
}

/// Six of its words point to the parts of the table.
fn is_module(candidate: &Candidate, table: u64, header: &Header) -> bool {
    let [names, units, files, values, records] = header.starts;
    let expected = [
        (0, 0),
        (1, names),
        (4, units),
        (7, files),
        (10, values),
        (13, records),
        (16, records),
    ];
    let mut expected = expected.into_iter();
    expected
        .all(|(word, start)| candidate.words.get(word).copied() == Some(table.wrapping_add(start)))
}

fn words<const N: usize>(candidate: &Candidate, from: usize) -> Option<[u64; N]> {
    let words = candidate.words.get(from..from.checked_add(N)?)?;
    words.try_into().ok()
}

/// True when every tree that the sampled functions refer to is one.
fn holds_trees(source: &impl Source, header: &Header, text: u64, trees: Window) -> bool {
    if header.version < Version::Go1_18 {
        return false;
    }
    let step = (header.functions / LOOKED_AT).max(1);
    let mut seen = 0;
    for number in (0..header.functions).step_by(step as usize) {
        let Some(function) = Function::numbered(source, header, text, number) else {
            return false;
        };
        let Some(tree) = function.inline_tree(source, header) else {
            continue;
        };
        let call = trees
            .from(tree.into())
            .and_then(|tree| Call::read(source, header, tree, 0));
        if !call.is_some_and(|call| call.is_plausible(source, header, &function)) {
            return false;
        }
        seen += 1;
        if seen == SAMPLES {
            break;
        }
    }
    seen > 0
}

fn scan_data(source: &impl Source, data: &Piece, wanted: u64, found: &mut Vec<u64>) {
    data.window.each_piece(source, |at, bytes| {
        for (word, at) in bytes.as_chunks().0.iter().zip((at..).step_by(8)) {
            if u64::from_le_bytes(*word) == wanted && found.len() < MAX_CANDIDATES {
                found.push(data.address.wrapping_add(at));
            }
        }
    });
}

/// Addresses that the dynamic linker writes: where, and which.
fn each_relocation(source: &impl Source, layout: &Layout, mut visit: impl FnMut(u64, u64)) {
    for relocations in &layout.relocations {
        relocations.each_piece(source, |_, bytes| {
            for entry in bytes.as_chunks::<RELOCATION>().0 {
                let [at, kind, value] = *entry.as_chunks().0 else {
                    continue;
                };
                if u64::from_le_bytes(kind) == RELATIVE {
                    visit(u64::from_le_bytes(at), u64::from_le_bytes(value));
                }
            }
        });
    }
}

/// The words as the file has them, before relocation.
fn stored(source: &impl Source, layout: &Layout, address: u64) -> Option<[u64; WORDS]> {
    let mut bytes = [0; WORDS * 8];
    layout.at(address)?.fill(source, 0, &mut bytes)?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    Some(words)
}
