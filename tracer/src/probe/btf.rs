//! The offset of a field in a kernel structure, from BTF (Documentation/bpf/btf.rst).
//!
//! aya parses BTF for its own needs and keeps member offsets to itself, so this is a small reader of
//! the three things needed here: structures by name, their members, and the types between.

use std::{cell::RefCell, collections::HashMap, ffi::CStr};

use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    #[error("not BTF data: {0}")]
    Malformed(&'static str),
}

pub(super) const MAGIC: u16 = 0xeb9f;
pub(super) const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
pub(super) const KIND_TYPEDEF: u32 = 8;
const KIND_CONST: u32 = 10;
const KIND_VOLATILE: u32 = 9;
const KIND_RESTRICT: u32 = 11;
pub(super) const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;

/// Deeper nesting than any kernel structure has; ends hostile cycles.
const MAX_DEPTH: u32 = 32;

pub struct Btf<'a> {
    strings: &'a [u8],
    types: &'a [u8],
    /// Byte offset of each type; type ids start at 1.
    starts: Vec<u32>,
    /// By kind, not by name: of a hundred thousand names a few dozen are asked for.
    structs: Vec<u32>,
    funcs: Vec<u32>,
    typedefs: Vec<u32>,
    enums: Vec<u32>,
    /// Structures that were asked for.
    asked: RefCell<HashMap<String, Option<u32>>>,
}

#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u32,
    vlen: u32,
    bitfields: bool,
    /// Size or referenced type id.
    size_or_id: u32,
    /// Byte offset of what follows the common part.
    body: usize,
}

impl<'a> Btf<'a> {
    pub fn parse(data: &'a [u8]) -> Result<Self, BtfError> {
        let magic = data.first_chunk::<2>().map(|b| u16::from_ne_bytes(*b));
        if magic != Some(MAGIC) {
            return Err(BtfError::Malformed("wrong magic, or the other byte order"));
        }
        let field = |at| word(data, at).ok_or(BtfError::Malformed("short header"));
        let header = field(4)? as usize;
        let section = |offset: u32, len: u32| {
            let from = header.checked_add(offset as usize)?;
            data.get(from..from.checked_add(len as usize)?)
        };
        let types =
            section(field(8)?, field(12)?).ok_or(BtfError::Malformed("types out of range"))?;
        let strings =
            section(field(16)?, field(20)?).ok_or(BtfError::Malformed("strings out of range"))?;
        let mut btf = Self {
            strings,
            types,
            starts: vec![0],
            structs: Vec::new(),
            funcs: Vec::new(),
            typedefs: Vec::new(),
            enums: Vec::new(),
            asked: RefCell::default(),
        };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let Some(ty) = self.type_at(at) else {
                return Err(BtfError::Malformed("truncated type"));
            };
            let id = self.starts.len() as u32;
            self.starts.push(at as u32);
            match ty.kind {
                KIND_STRUCT => self.structs.push(id),
                KIND_FUNC => self.funcs.push(id),
                KIND_TYPEDEF => self.typedefs.push(id),
                KIND_ENUM => self.enums.push(id),
                _ => {}
            }
            at = ty.body + body_len(ty)?;
        }
        Ok(())
    }

    /// The kind of every type, in the order of their ids, from 1 on, and where its name is.
    pub fn kinds(&self) -> impl Iterator<Item = (u32, u32)> {
        let starts = self.starts.iter().skip(1);
        starts.filter_map(|at| {
            let ty = self.type_at(*at as usize)?;
            Some((ty.kind, ty.name))
        })
    }

    /// Does the kernel know the helper `bpf_<name>`, for whatever kind of program? The enumerators of
    /// `enum bpf_func_id` are those it has.
    pub fn has_helper(&self, name: &str) -> bool {
        let name = format!("BPF_FUNC_{name}");
        let Some(ty) = self.first(&self.enums, "bpf_func_id") else {
            return false;
        };
        let enumerators = (0..ty.vlen as usize).map(|i| word(self.types, ty.body + i * 8));
        enumerators.flatten().any(|at| self.is_named(at, &name))
    }

    /// The first of these types with that name.
    fn first(&self, ids: &[u32], name: &str) -> Option<Type> {
        let mut types = ids.iter().filter_map(|id| self.by_id(*id));
        types.find(|ty| self.is_named(ty.name, name))
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        let tail = self.strings.get(at as usize..).unwrap_or(&[]);
        tail.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first().is_none_or(|end| *end == 0))
    }

    /// Byte offset of `path` in `struct strukt`; `None` when either does not exist.
    pub fn offset(&self, strukt: &str, path: &str) -> Option<u32> {
        path.split('|')
            .find_map(|alternative| self.offset_of(strukt, alternative))
    }

    /// Number of parameters of a kernel function.
    pub fn parameters(&self, function: &str) -> Option<u32> {
        let func = self.first(&self.funcs, function)?;
        let proto = self.by_id(func.size_or_id)?;
        (proto.kind == KIND_FUNC_PROTO).then_some(proto.vlen)
    }

    /// A tracepoint `x` can carry BTF programs where the typedef `btf_trace_x` exists.
    pub fn has_tracepoint(&self, name: &str) -> bool {
        let name = format!("btf_trace_{name}");
        self.first(&self.typedefs, &name).is_some()
    }

    fn offset_of(&self, strukt: &str, path: &str) -> Option<u32> {
        let mut ty = self.structure(strukt)?;
        let mut bits: u32 = 0;
        for segment in path.split('.') {
            let (name, index) = match segment.split_once('[') {
                Some((name, rest)) => (name, rest.strip_suffix(']')?.parse::<u32>().ok()?),
                None => (segment, 0),
            };
            let (member, offset) = self.member(ty, name, 0)?;
            bits = bits.checked_add(offset)?;
            ty = self.resolve(member)?;
            if index > 0 {
                let bytes = index.checked_mul(self.element_size(ty)?)?;
                bits = bits.checked_add(bytes.checked_mul(8)?)?;
            }
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    fn structure(&self, name: &str) -> Option<u32> {
        if let Some(known) = self.asked.borrow().get(name) {
            return *known;
        }
        let is_it = |id: &&u32| {
            let ty = self.by_id(**id);
            ty.is_some_and(|ty| self.is_named(ty.name, name))
        };
        let found = self.structs.iter().find(is_it).copied();
        self.asked.borrow_mut().insert(name.to_owned(), found);
        found
    }

    /// Type and bit offset of a member, looking through anonymous structures and unions.
    fn member(&self, id: u32, name: &str, depth: u32) -> Option<(u32, u32)> {
        let ty = self.by_id(id)?;
        if depth > MAX_DEPTH || !matches!(ty.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        for i in 0..ty.vlen as usize {
            let at = ty.body + i * 12;
            let member_name = self.name(word(self.types, at)?);
            let member_type = word(self.types, at + 4)?;
            let raw = word(self.types, at + 8)?;
            let offset = if ty.bitfields { raw & 0x00ff_ffff } else { raw };
            if member_name == name.as_bytes() {
                return Some((member_type, offset));
            }
            if member_name.is_empty()
                && let Some((found, inner)) =
                    self.member(self.resolve(member_type)?, name, depth + 1)
            {
                return Some((found, offset.checked_add(inner)?));
            }
        }
        None
    }

    /// Through typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..MAX_DEPTH {
            let ty = self.by_id(id)?;
            match ty.kind {
                KIND_TYPEDEF | KIND_CONST | KIND_VOLATILE | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = ty.size_or_id;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn element_size(&self, array: u32) -> Option<u32> {
        let ty = self.by_id(array)?;
        if ty.kind != KIND_ARRAY {
            return None;
        }
        let element = self.by_id(self.resolve(word(self.types, ty.body)?)?)?;
        match element.kind {
            KIND_PTR => Some(size_of::<usize>() as u32),
            _ => Some(element.size_or_id),
        }
    }

    fn by_id(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        self.type_at(*self.starts.get(id as usize)? as usize)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = word(self.types, at + 4)?;
        Some(Type {
            name: word(self.types, at)?,
            kind: (info >> 24) & 0x1f,
            vlen: info & 0xffff,
            bitfields: info >> 31 != 0,
            size_or_id: word(self.types, at + 8)?,
            body: at + 12,
        })
    }

    pub fn name(&self, offset: u32) -> &'a [u8] {
        let tail = self.strings.get(offset as usize..).unwrap_or(&[]);
        CStr::from_bytes_until_nul(tail).map_or(tail, CStr::to_bytes)
    }
}

/// Bytes after the common part, per kind.
fn body_len(ty: Type) -> Result<usize, BtfError> {
    let n = ty.vlen as usize;
    Ok(match ty.kind {
        1 | 14 | 17 => 4, // INT, VAR, DECL_TAG
        KIND_ARRAY => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => n * 12, // and DATASEC, ENUM64
        KIND_ENUM | KIND_FUNC_PROTO => n * 8,
        2 | 7..=12 | 16 | KIND_TYPE_TAG => 0, // pointers, forwards, qualifiers, FUNC, FLOAT
        _ => return Err(BtfError::Malformed("unknown kind of type")),
    })
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// struct outer { struct { int a; }; inner b; regs: u64[4] } with `inner` a typedef of a struct.
    fn sample() -> Vec<u8> {
        let names = b"\0int\0outer\0a\0b\0c\0inner\0regs\0u64\0f\0";
        let at = |s: &str| {
            let needle = format!("\0{s}\0");
            names
                .windows(needle.len())
                .position(|w| w == needle.as_bytes())
                .unwrap() as u32
                + 1
        };
        let mut types: Vec<u32> = Vec::new();
        let info = |kind: u32, vlen: u32| kind << 24 | vlen;
        types.extend([at("int"), info(1, 0), 4, 32]); // 1
        types.extend([0, info(4, 1), 4, at("a"), 1, 0]); // 2: anonymous struct
        types.extend([0, info(4, 2), 8, at("b"), 1, 0, at("c"), 1, 32]); // 3
        types.extend([at("inner"), info(8, 0), 3]); // 4: typedef
        types.extend([at("u64"), info(1, 0), 8, 64]); // 5
        types.extend([0, info(3, 0), 0, 5, 1, 4]); // 6: u64[4]
        types.extend([
            at("outer"),
            info(4, 3),
            48,
            0,
            2,
            0,
            at("b"),
            4,
            64,
            at("regs"),
            6,
            128,
        ]); // 7
        types.extend([0, info(13, 2), 1, 0, 1, 0, 1]); // 8: proto of two parameters
        types.extend([at("f"), info(12, 0), 8]); // 9
        let types: Vec<u8> = types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let mut data = Vec::new();
        data.extend(MAGIC.to_ne_bytes());
        data.extend([1, 0]);
        for w in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            names.len() as u32,
        ] {
            data.extend(w.to_ne_bytes());
        }
        data.extend(types);
        data.extend(names);
        data
    }

    #[test]
    fn finds_members_through_anonymous_and_named_types() {
        let data = sample();
        let btf = Btf::parse(&data).unwrap();
        assert_eq!(btf.offset("outer", "a"), Some(0));
        assert_eq!(btf.offset("outer", "b.c"), Some(12));
        assert_eq!(btf.offset("outer", "nope|b.b"), Some(8));
        assert_eq!(btf.offset("outer", "regs[2]"), Some(32));
        assert_eq!(btf.offset("outer", "missing"), None);
        assert_eq!(btf.offset("missing", "a"), None);
        assert_eq!(btf.parameters("f"), Some(2));
    }

    #[test]
    fn damaged_data_is_an_error_not_a_panic() {
        let data = sample();
        for len in 0..data.len() {
            if let Ok(btf) = Btf::parse(&data[..len]) {
                let _any = btf.offset("outer", "b.c");
            }
        }
        for i in 0..data.len() {
            let mut damaged = data.clone();
            damaged[i] ^= 0xff;
            if let Ok(btf) = Btf::parse(&damaged) {
                let _any = btf.offset("outer", "regs[2]");
            }
        }
    }
}
