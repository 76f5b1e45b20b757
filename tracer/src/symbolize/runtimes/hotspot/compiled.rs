//! Compiled code: which methods, inlined into one another, an address in it belongs to.

use super::code_cache::Blob;
use super::method::Place;
use super::stream::{Packing, Stream};
use super::tables::{Field, Tables};
use crate::symbolize::runtimes::memory::Memory;

/// Methods inlined into one another.
const MAX_SCOPES: usize = 64;
/// Places of one method that are described.
const MAX_PLACES: u64 = 1 << 16;
const MAX_METADATA: u64 = 1 << 17;
/// Three packed numbers.
const SCOPE: usize = 15;

pub(super) struct Compiled {
    method: Field,
    compile_id: Field,
    places: Range,
    place_size: u64,
    place_pc: Field,
    place_scope: Field,
    /// Where the descriptions of scopes begin.
    scopes: Start,
    metadata: Start,
    code: Start,
    deoptimized: [Option<Start>; 2],
    original_pc: Field,
    packing: Packing,
}

/// An address: by a pointer in the head, or so far from the start or from where a pointer leads.
#[derive(Clone, Copy)]
enum Start {
    Pointer(Field),
    Offset(Field),
    Behind(Field, Field),
}

struct Range {
    begin: Start,
    end: Start,
}

impl Start {
    fn of(self, memory: &mut Memory<'_>, head: u64) -> Option<u64> {
        match self {
            Self::Pointer(field) => field.of(memory, head),
            Self::Offset(field) => head.checked_add(field.of(memory, head)?),
            Self::Behind(pointer, offset) => {
                let begin = pointer.of(memory, head)?;
                begin.checked_add(offset.of(memory, head)?)
            }
        }
    }
}

impl Compiled {
    pub(super) fn of(tables: &Tables, packing: Packing) -> Option<Self> {
        let of = |name| {
            let own = tables.field("nmethod", name);
            own.or_else(|| tables.field("CompiledMethod", name))
        };
        let blob = |name| tables.field("CodeBlob", name);
        // Since 23 what does not change lies apart, and since 25 what does as well.
        let apart = of("_immutable_data");
        let begin = of("_scopes_pcs_offset")?;
        let places = match apart {
            Some(apart) => Range {
                begin: Start::Behind(apart, begin),
                end: Start::Behind(apart, of("_scopes_data_offset")?),
            },
            None => Range {
                begin: Start::Offset(begin),
                end: Start::Offset(of("_dependencies_offset")?),
            },
        };
        let scopes = match apart {
            Some(apart) => Start::Behind(apart, of("_scopes_data_offset")?),
            None => Start::Pointer(of("_scopes_data_begin")?),
        };
        let metadata = match of("_metadata_offset") {
            Some(offset) => Start::Offset(offset),
            None => Start::Behind(blob("_mutable_data")?, blob("_relocation_size")?),
        };
        let handler = |pointer, offset| {
            let pointer = of(pointer).map(Start::Pointer);
            pointer.or_else(|| of(offset).map(Start::Offset))
        };
        Some(Self {
            method: of("_method")?,
            compile_id: of("_compile_id")?,
            places,
            place_size: tables.size("PcDesc")?,
            place_pc: tables.field("PcDesc", "_pc_offset")?,
            place_scope: tables.field("PcDesc", "_scope_decode_offset")?,
            scopes,
            metadata,
            code: match blob("_code_begin") {
                Some(pointer) => Start::Pointer(pointer),
                None => Start::Offset(blob("_code_offset")?),
            },
            deoptimized: [
                handler("_deopt_handler_begin", "_deopt_handler_offset"),
                handler("_deopt_mh_handler_begin", "_deopt_mh_handler_offset"),
            ],
            original_pc: of("_orig_pc_offset")?,
            packing,
        })
    }

    /// The method of a wrapper, which is native.
    pub(super) fn native(&self, memory: &mut Memory<'_>, blob: Blob) -> Option<Place> {
        Some(Place {
            method: self.method.of(memory, blob.at)?,
            bytecode: None,
            inlined: false,
            identity: self.identity(memory, blob)?,
        })
    }

    /// Where a frame that is to be deoptimised keeps what it would have returned to, counted from its stack pointer;
    /// `None` of all other frames.
    pub(super) fn original(&self, memory: &mut Memory<'_>, blob: Blob, pc: u64) -> Option<u64> {
        let mut handlers = self.deoptimized.into_iter().flatten();
        let is_one = handlers.any(|handler| handler.of(memory, blob.at) == Some(pc));
        is_one
            .then(|| self.original_pc.of(memory, blob.at))
            .flatten()
    }

    /// No other piece of code ever gets this number.
    pub(super) fn number(&self, memory: &mut Memory<'_>, blob: Blob) -> Option<u32> {
        Some(self.compile_id.of(memory, blob.at)? as u32)
    }

    pub(super) fn place_of_number(&self) -> u64 {
        self.compile_id.at
    }

    fn identity(&self, memory: &mut Memory<'_>, blob: Blob) -> Option<u64> {
        let number = self.compile_id.of(memory, blob.at)?;
        Some(blob.at.wrapping_mul(31) ^ number << 32)
    }

    /// Innermost first. `None` where no place is described exactly.
    pub(super) fn places(
        &self,
        memory: &mut Memory<'_>,
        blob: Blob,
        pc: u64,
    ) -> Option<Vec<Place>> {
        let code = self.code.of(memory, blob.at)?;
        let mut scope = self.scope_at(memory, blob, pc.checked_sub(code)?)?;
        let scopes = self.scopes.of(memory, blob.at)?;
        let metadata = self.metadata.of(memory, blob.at)?;
        let identity = self.identity(memory, blob)?;
        let mut places = Vec::new();
        for _ in 0..MAX_SCOPES {
            let bytes = memory.bytes(scopes.checked_add(scope)?, SCOPE)?;
            let mut stream = Stream::new(&bytes, self.packing);
            let sender = u64::from(stream.number()?);
            let index = u64::from(stream.number()?);
            let bytecode = stream.number()?.checked_sub(1);
            if index == 0 || index > MAX_METADATA {
                return None;
            }
            places.push(Place {
                method: memory.word(metadata.checked_add((index - 1) * 8)?)?,
                bytecode,
                inlined: sender != 0,
                identity,
            });
            if sender == 0 {
                // The outermost is the method that was compiled.
                let outermost = places.last().map(|place| place.method);
                return (outermost == self.method.of(memory, blob.at)).then_some(places);
            }
            // Callers are written before what they call.
            if sender >= scope {
                return None;
            }
            scope = sender;
        }
        None
    }

    /// The scope described for exactly this distance from the start of the code.
    fn scope_at(&self, memory: &mut Memory<'_>, blob: Blob, distance: u64) -> Option<u64> {
        let begin = self.places.begin.of(memory, blob.at)?;
        let end = self.places.end.of(memory, blob.at)?;
        let count = end.checked_sub(begin)?.checked_div(self.place_size)?;
        if count > MAX_PLACES {
            return None;
        }
        // Sorted, with one before and one after all others.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = u64::midpoint(low, high);
            let place = begin.checked_add(middle * self.place_size)?;
            let at = i64::from((self.place_pc.of(memory, place)? as u32).cast_signed());
            match at.cmp(&distance.cast_signed()) {
                std::cmp::Ordering::Equal => {
                    let scope = self.place_scope.of(memory, place)?;
                    return (scope != 0).then_some(scope);
                }
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}
