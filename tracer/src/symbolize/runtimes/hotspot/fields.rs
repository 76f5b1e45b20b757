//! Where objects have their fields, by the names of these (21 and later): a class has a packed list of its own.

use super::method::Methods;
use super::stream::Packing;
use super::tables::{Field, Tables};
use crate::symbolize::runtimes::memory::Memory;

const MAX_BYTES: u64 = 4096;
/// Classes that one extends.
const MAX_SUPERS: usize = 16;

pub(super) struct Fields {
    list: Field,
    length: Field,
    data: Field,
    pool: Field,
    extended: Field,
    packing: Packing,
}

impl Fields {
    pub(super) fn of(tables: &Tables, packing: Packing) -> Option<Self> {
        Some(Self {
            list: tables.field("InstanceKlass", "_fieldinfo_stream")?,
            length: tables.field("Array<int>", "_length")?,
            data: tables.field("Array<u1>", "_data")?,
            pool: tables.field("InstanceKlass", "_constants")?,
            extended: tables.field("Klass", "_super")?,
            packing,
        })
    }

    /// In objects of this class; of a static field, in the object that stands for the class.
    pub(super) fn place(
        &self,
        memory: &mut Memory<'_>,
        methods: &Methods,
        class: u64,
        name: &str,
    ) -> Option<u64> {
        let mut class = class;
        for _ in 0..MAX_SUPERS {
            if class == 0 {
                return None;
            }
            if let Some(place) = self.own(memory, methods, class, name) {
                return Some(place);
            }
            class = self.extended.of(memory, class)?;
        }
        None
    }

    fn own(
        &self,
        memory: &mut Memory<'_>,
        methods: &Methods,
        class: u64,
        name: &str,
    ) -> Option<u64> {
        let list = self.list.of(memory, class)?;
        let length = self.length.of(memory, list)?.min(MAX_BYTES);
        let bytes = memory.bytes(self.data.place(list)?, length as usize)?;
        let pool = self.pool.of(memory, class)?;
        let all = super::stream::fields(&bytes, self.packing)?;
        let mut all = all.into_iter();
        let found = all.find(|(of, _)| methods.entry(memory, pool, *of).as_deref() == Some(name));
        found.map(|(_, place)| place)
    }
}
