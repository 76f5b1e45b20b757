//! The head of Go's function table: which layout it has and where its parts are. The layouts are
//! those of Go 1.16, 1.18 and 1.20; a linker of another kind writes another number.

use super::window::{Source, Window};

const MAGIC_1_16: u32 = 0xffff_fffa;
const MAGIC_1_18: u32 = 0xffff_fff0;
const MAGIC_1_20: u32 = 0xffff_fff1;
const POINTER: u8 = 8;
/// Far above the 300,000 functions of the largest known programs.
const MAX_FUNCTIONS: u64 = 8 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    Go1_16,
    Go1_18,
    Go1_20,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub version: Version,
    /// Smallest step between two instructions.
    pub quantum: u64,
    pub functions: u64,
    /// Absent since 1.26, and where it is left to the dynamic linker.
    pub text_start: Option<u64>,
    pub names: Window,
    pub units: Window,
    pub files: Window,
    pub values: Window,
    /// The sorted index, and the records it points to.
    pub records: Window,
    /// Of the five parts above, from the start of the table.
    pub starts: [u64; 5],
}

/// Whether a table may begin with these bytes.
pub(super) fn is_magic([m0, m1, m2, m3, rest @ ..]: [u8; 8]) -> bool {
    let magic = u32::from_le_bytes([m0, m1, m2, m3]);
    version(magic).is_some() && matches!(rest, [0, 0, 1 | 2 | 4, POINTER])
}

fn version(magic: u32) -> Option<Version> {
    match magic {
        MAGIC_1_16 => Some(Version::Go1_16),
        MAGIC_1_18 => Some(Version::Go1_18),
        MAGIC_1_20 => Some(Version::Go1_20),
        _ => None,
    }
}

impl Header {
    pub(super) fn read(source: &impl Source, table: Window) -> Option<Self> {
        let start: [u8; 8] = table.bytes(source, 0)?;
        if !is_magic(start) {
            return None;
        }
        let [m0, m1, m2, m3, _, _, quantum, _] = start;
        let version = version(u32::from_le_bytes([m0, m1, m2, m3]))?;
        let functions = table.u64(source, 8)?;
        if functions == 0 || functions > MAX_FUNCTIONS {
            return None;
        }
        let (text_start, parts) = match version {
            Version::Go1_16 => (None, 24),
            Version::Go1_18 | Version::Go1_20 => (Some(table.u64(source, 24)?), 32),
        };
        let mut starts = [0; 5];
        for (start, at) in starts.iter_mut().zip((parts..).step_by(8)) {
            *start = table.u64(source, at)?;
        }
        let [names, units, files, values, records] = starts.map(|start| table.from(start));
        Some(Self {
            version,
            quantum: quantum.into(),
            functions,
            text_start: text_start.filter(|start| *start != 0),
            names: names?,
            units: units?,
            files: files?,
            values: values?,
            records: records?,
            starts,
        })
    }
}
