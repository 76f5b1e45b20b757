//! The tables in which HotSpot tells debuggers where its structures have what: `gHotSpotVMStructs` and its like, exported
//! by every build. So nothing of a layout is known here but names.

use std::collections::HashMap;

use crate::symbolize::runtimes::memory::Memory;

const MAX_ENTRIES: usize = 16_384;
const MAX_STRIDE: u64 = 256;
/// The longest are those of templates.
const MAX_NAME: usize = 256;

/// What is asked of [`crate::symbolize::runtimes::exports`]: each table with how its entries are laid out.
pub(super) const EXPORTS: [&str; 17] = [
    "gHotSpotVMStructs",
    "gHotSpotVMStructEntryTypeNameOffset",
    "gHotSpotVMStructEntryFieldNameOffset",
    "gHotSpotVMStructEntryTypeStringOffset",
    "gHotSpotVMStructEntryIsStaticOffset",
    "gHotSpotVMStructEntryOffsetOffset",
    "gHotSpotVMStructEntryAddressOffset",
    "gHotSpotVMStructEntryArrayStride",
    "gHotSpotVMTypes",
    "gHotSpotVMTypeEntryTypeNameOffset",
    "gHotSpotVMTypeEntrySizeOffset",
    "gHotSpotVMTypeEntryArrayStride",
    "gHotSpotVMIntConstants",
    "gHotSpotVMIntConstantEntryNameOffset",
    "gHotSpotVMIntConstantEntryValueOffset",
    "gHotSpotVMIntConstantEntryArrayStride",
    "gHotSpotVMLongConstants",
];

/// A field: its distance from the start of its structure, or its address when there is only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub at: u64,
    width: u8,
}

impl Field {
    /// The number in the structure at `base`, widened without a sign.
    pub(super) fn of(self, memory: &mut Memory<'_>, base: u64) -> Option<u64> {
        let at = base.checked_add(self.at)?;
        Some(match self.width {
            1 => u64::from(u8::from_le_bytes(memory.array(at)?)),
            2 => u64::from(u16::from_le_bytes(memory.array(at)?)),
            4 => u64::from(memory.half(at)?),
            _ => memory.word(at)?,
        })
    }

    /// The address of the field itself.
    pub(super) fn place(self, base: u64) -> Option<u64> {
        base.checked_add(self.at)
    }
}

/// By the type's own name, for those types that are wanted.
pub(super) struct Tables {
    fields: HashMap<(String, String), Field>,
    sizes: HashMap<String, u64>,
}

impl Tables {
    pub(super) fn read(memory: &mut Memory<'_>, exports: &[Option<u64>; 17]) -> Option<Self> {
        let mut values = [0; 17];
        for (value, address) in values.iter_mut().zip(exports) {
            *value = memory.word((*address)?)?;
        }
        let [
            structs,
            of,
            name,
            kind,
            single,
            offset,
            address,
            stride,
            types,
            type_name,
            size,
            type_stride,
            ..,
        ] = values;
        let mut tables = Self {
            fields: HashMap::new(),
            sizes: HashMap::new(),
        };
        each(memory, structs, stride, of, |memory, entry, of| {
            if !TYPES.contains(&of.as_str()) {
                return Some(());
            }
            let pointer = memory.word(entry.checked_add(name)?)?;
            let name = text(memory, pointer)?;
            let pointer = memory.word(entry.checked_add(kind)?)?;
            let kind = if pointer == 0 {
                String::new()
            } else {
                text(memory, pointer)?
            };
            let single = memory.half(entry.checked_add(single)?)? != 0;
            let place = if single { address } else { offset };
            let at = memory.word(entry.checked_add(place)?)?;
            let width = width(&kind);
            tables.fields.insert((of, name), Field { at, width });
            Some(())
        })?;
        let sizes = &mut tables.sizes;
        each(
            memory,
            types,
            type_stride,
            type_name,
            |memory, entry, of| {
                if TYPES.contains(&of.as_str()) {
                    sizes.insert(of, memory.word(entry.checked_add(size)?)?);
                }
                Some(())
            },
        )?;
        Some(tables)
    }

    pub(super) fn field(&self, of: &str, name: &str) -> Option<Field> {
        let key = (of.to_owned(), name.to_owned());
        self.fields.get(&key).copied()
    }

    pub(super) fn size(&self, of: &str) -> Option<u64> {
        self.sizes.get(of).copied().filter(|size| *size <= 1 << 16)
    }
}

fn each(
    memory: &mut Memory<'_>,
    table: u64,
    stride: u64,
    name: u64,
    mut visit: impl FnMut(&mut Memory<'_>, u64, String) -> Option<()>,
) -> Option<()> {
    if stride == 0 || stride > MAX_STRIDE {
        return None;
    }
    for number in 0..MAX_ENTRIES {
        let entry = table.checked_add(number as u64 * stride)?;
        let pointer = memory.word(entry.checked_add(name)?)?;
        if pointer == 0 {
            return Some(());
        }
        let name = text(memory, pointer)?;
        visit(memory, entry, name)?;
    }
    None
}

fn text(memory: &mut Memory<'_>, at: u64) -> Option<String> {
    memory.string(at, MAX_NAME)
}

fn width(kind: &str) -> u8 {
    match kind {
        "bool" | "u1" | "jbyte" | "char" => 1,
        "u2" | "unsigned short" | "short" | "int16_t" => 2,
        "int"
        | "jint"
        | "u4"
        | "uint"
        | "const uint"
        | "unsigned int"
        | "uint32_t"
        | "pid_t"
        | "OSThread::thread_id_t"
        | "AccessFlags" => 4,
        _ => 8,
    }
}

const TYPES: &[&str] = &[
    "AbstractInterpreter",
    "Abstract_VM_Version",
    "Array<Klass*>",
    "Array<Method*>",
    "Array<int>",
    "Array<u1>",
    "ClassLoaderData",
    "CodeBlob",
    "CodeCache",
    "CodeHeap",
    "CollectedHeap",
    "CompiledMethod",
    "CompressedKlassPointers",
    "CompressedOops",
    "ConstMethod",
    "ConstantPool",
    "GenericGrowableArray",
    "GrowableArray<int>",
    "GrowableArrayBase",
    "HeapBlock",
    "HeapBlock::Header",
    "InstanceKlass",
    "JVMFlag",
    "JavaCallWrapper",
    "JavaFrameAnchor",
    "JavaThread",
    "Klass",
    "Method",
    "OSThread",
    "PcDesc",
    "PerfMemory",
    "StubQueue",
    "StubRoutines",
    "Symbol",
    "Thread",
    "Threads",
    "ThreadsList",
    "ThreadsSMRSupport",
    "Universe",
    "VirtualSpace",
    "nmethod",
    "vmClasses",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_follow_the_type() {
        let widths = [
            "u2", "int", "size_t", "uint32_t", "bool", "Method*", "address",
        ]
        .map(width);
        assert_eq!(widths, [2, 4, 8, 4, 1, 8, 8]);
    }

    #[test]
    fn a_table_without_an_end_or_with_a_hostile_stride_is_none() {
        let mut fetch = |pages: &[u64]| vec![Some(vec![0x11_u8; 4096]); pages.len()];
        let mut memory = Memory::new(&mut fetch);
        assert!(Tables::read(&mut memory, &[Some(0x1000); 17]).is_none());
        let mut visit = |_: &mut Memory<'_>, _, _| Some(());
        assert_eq!(each(&mut memory, 0x1000, 0, 0, &mut visit), None);
        assert_eq!(each(&mut memory, 0x1000, 24, 0, &mut visit), None);
    }

    #[test]
    fn memory_full_of_anything_is_read() {
        crate::damaged::run("memory", 300, |bytes| {
            let mut fetch = |pages: &[u64]| crate::damaged::pages(bytes, pages);
            let mut memory = Memory::new(&mut fetch);
            Tables::read(&mut memory, &[Some(0x10000); 17]);
        });
    }
}
