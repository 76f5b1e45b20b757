//! Where V8 has what in its objects: by the constants that it exports to debuggers (`v8dbg_*`), stripped or not. What is
//! not among them is found by the type of what lies there.

use std::collections::HashMap;

use crate::symbolize::runtimes::exports;
use crate::symbolize::runtimes::memory::Memory;

const PREFIXES: [&str; 2] = ["v8dbg_", "nodedbg_offset_BaseObject__"];
/// Of any class that is asked for.
const LARGEST_OFFSET: u32 = 512;

/// Offsets in bytes from the start of an object, and numbers of types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub persistent: u64,
    pub map: Map,
    pub properties: u64,
    pub elements: u64,
    pub embedder: u64,
    pub array_data: u64,
    pub descriptors: u64,
    pub dictionary_prefix: u64,
    pub index_mask: u32,
    pub index_shift: u32,
    pub oddball_kind: u64,
    pub is_true: u32,
    pub is_undefined: u32,
    pub is_null: u32,
    pub length: u64,
    pub chars: u64,
    pub external: u64,
    pub symbol_name: u64,
    pub shared: u64,
    pub name_or_scope: u64,
    pub script: u64,
    pub script_name: u64,
    pub script_source: u64,
    pub uncompiled: [u64; 2],
    /// Of a `ScopeInfo`, in words: where its variables begin; the position lies before them since V8 13.
    pub first_variable: u64,
    /// Whether frames are such as the kernel program walks.
    pub frames: bool,
    pub types: Types,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub kind: u64,
    pub size: u64,
    pub in_object: u64,
    pub bits: u64,
    pub is_dictionary: u32,
    pub own_mask: u32,
    pub own_shift: u32,
    pub descriptors: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Types {
    pub map: u16,
    pub descriptors: [u16; 2],
    pub property_array: u16,
    pub swiss: u16,
    pub oddball: u16,
    pub symbol: u16,
    pub array: u16,
    pub object: u16,
    pub function: u16,
    pub bound: u16,
    pub shared: u16,
    pub script: u16,
    pub scope: u16,
    /// Functions that were not compiled yet.
    pub uncompiled: Vec<u16>,
}

impl Layout {
    /// `None` when the file exports no such constants, or too few.
    pub(super) fn of(file: &std::fs::File, bias: u64, memory: &mut Memory<'_>) -> Option<Self> {
        let symbols = exports::beginning_with(file, &PREFIXES)?;
        memory.want(symbols.iter().map(|(_, at)| at.wrapping_add(bias)));
        let mut constants = HashMap::new();
        for (name, at) in symbols {
            let value = memory.half(at.wrapping_add(bias))?;
            constants.insert(short(&name).to_owned(), value);
        }
        Self::from(&Constants(constants))
    }

    fn from(of: &Constants) -> Option<Self> {
        let prefix = of.number("namedictionary_prefix_start_index")?
            + of.number("namedictionaryshape_prefix_size")?;
        let whole = of.number("SmiValueShift")? + of.number("SmiShiftSize")? == 32
            && of.number("TaggedSize")? == 8
            && of.number("prop_desc_size")? == 3
            && of.number("namedictionaryshape_entry_size")? == 3;
        // With compressed pointers everything is different; Node is not built so.
        whole.then_some(())?;
        Some(Self {
            persistent: of.offset("nodedbg_offset_BaseObject__persistent_handle_")?,
            map: Map {
                kind: of.offset("Map__instance_type")?,
                size: of.offset("Map__instance_size_in_words")?,
                in_object: of
                    .offset("Map__inobject_properties_start_or_constructor_function_index")?,
                bits: of.offset("Map__bit_field3")?,
                is_dictionary: of.number("bit_field3_is_dictionary_map_shift")?,
                own_mask: of.number("bit_field3_number_of_own_descriptors_mask")?,
                own_shift: of.number("bit_field3_number_of_own_descriptors_shift")?,
                descriptors: of.offset("Map__instance_descriptors")?,
            },
            properties: of.offset("JSReceiver__raw_properties_or_hash")?,
            elements: of.offset("JSObject__elements")?,
            embedder: of.offset("JSObject__internal_fields")?,
            array_data: of.offset("FixedArray__data")?,
            descriptors: of.offset("DescriptorArray__header_size")?,
            dictionary_prefix: prefix.into(),
            index_mask: of.number("prop_index_mask")?,
            index_shift: of.number("prop_index_shift")?,
            oddball_kind: of
                .offset("Oddball__kind")
                .or_else(|| of.offset("Oddball__kind_offset"))?,
            is_true: of.number("OddballTrue")?,
            is_undefined: of.number("OddballUndefined")?,
            is_null: of.number("OddballNull")?,
            length: of.offset("String__length")?,
            chars: of.offset("SeqOneByteString__chars")?,
            external: of.offset("ExternalString__resource")?,
            symbol_name: of.offset("Symbol__name")?,
            shared: of.offset("JSFunction__shared")?,
            name_or_scope: of.offset("SharedFunctionInfo__name_or_scope_info")?,
            script: of
                .offset("SharedFunctionInfo__script")
                .or_else(|| of.offset("SharedFunctionInfo__script_or_debug_info"))?,
            script_name: of.offset("Script__name")?,
            script_source: of.offset("Script__source")?,
            uncompiled: [
                of.offset("UncompiledData__start_position")?,
                of.offset("UncompiledData__end_position")?,
            ],
            first_variable: of.offset("scopeinfo_idx_first_vars")?,
            frames: of.are_frames_as_expected(),
            types: Types::from(of)?,
        })
    }
}

impl Types {
    fn from(of: &Constants) -> Option<Self> {
        let kind = |name: &str| u16::try_from(of.number(name)?).ok();
        let uncompiled = of
            .0
            .iter()
            .filter(|(name, _)| name.starts_with("UNCOMPILED_DATA_") && name.ends_with("_TYPE"));
        Some(Self {
            map: kind("MAP_TYPE")?,
            descriptors: [
                kind("DESCRIPTOR_ARRAY_TYPE")?,
                kind("STRONG_DESCRIPTOR_ARRAY_TYPE")?,
            ],
            property_array: kind("PROPERTY_ARRAY_TYPE")?,
            swiss: kind("SWISS_NAME_DICTIONARY_TYPE")?,
            oddball: kind("ODDBALL_TYPE")?,
            symbol: kind("SYMBOL_TYPE")?,
            array: kind("JS_ARRAY_TYPE")?,
            object: kind("JS_OBJECT_TYPE")?,
            function: kind("JS_FUNCTION_TYPE")?,
            bound: kind("JS_BOUND_FUNCTION_TYPE")?,
            shared: kind("SHARED_FUNCTION_INFO_TYPE")?,
            script: kind("SCRIPT_TYPE")?,
            scope: kind("SCOPE_INFO_TYPE")?,
            uncompiled: uncompiled
                .filter_map(|(_, value)| u16::try_from(*value).ok())
                .collect(),
        })
    }
}

struct Constants(HashMap<String, u32>);

impl Constants {
    fn number(&self, name: &str) -> Option<u32> {
        self.0.get(name).copied()
    }

    /// Function, context or kind, and the numbers of entries from C++: on x86-64 alike in all releases.
    fn are_frames_as_expected(&self) -> bool {
        let below = |name: &str| self.number(name).map(u32::cast_signed);
        cfg!(target_arch = "x86_64")
            && below("off_fp_context_or_frame_type") == Some(-8)
            && below("off_fp_function") == Some(-16)
            && below("off_fp_bytecode_offset") == Some(-40)
            && self.number("frametype_EntryFrame") == Some(1)
            && self.number("frametype_ConstructEntryFrame") == Some(2)
    }

    fn offset(&self, name: &str) -> Option<u64> {
        let offset = self.number(name)?;
        (offset < LARGEST_OFFSET).then_some(offset.into())
    }
}

/// Without the type at the end of a field's name, which is another one in each release, and without the class of a type.
fn short(name: &str) -> &str {
    let name = name.strip_prefix("v8dbg_").unwrap_or(name);
    if let Some(field) = name.strip_prefix("class_") {
        let mut parts = field.match_indices("__");
        let end = parts.nth(1).map_or(field.len(), |(end, _)| end);
        return field.get(..end).unwrap_or(field);
    }
    if let Some(of_class) = name.strip_prefix("type_") {
        return of_class.rsplit("__").next().unwrap_or(of_class);
    }
    // `nodedbg_offset_BaseObject__persistent_handle___v8_Persistent_v8_Object`
    name.split("___")
        .next()
        .map_or(name, |start| name.get(..=start.len()).unwrap_or(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_all_releases() {
        for (name, expected) in [
            (
                "v8dbg_class_JSFunction__shared__Tagged_SharedFunctionInfo_",
                "JSFunction__shared",
            ),
            (
                "v8dbg_class_Map__instance_descriptors_offset",
                "Map__instance_descriptors_offset",
            ),
            ("v8dbg_type_JSObject__JS_OBJECT_TYPE", "JS_OBJECT_TYPE"),
            ("v8dbg_OddballTrue", "OddballTrue"),
            (
                "nodedbg_offset_BaseObject__persistent_handle___v8_Persistent_v8_Object",
                "nodedbg_offset_BaseObject__persistent_handle_",
            ),
        ] {
            assert_eq!(short(name), expected);
        }
    }
}
