//! Whether an image's unwind tables say how to leave a function, and whether it is safe to follow
//! them: an expression in the tables may branch backwards, and the evaluator would never return.

use std::ops::Range;

use framehop::ExplicitModuleSectionInfo;
use gimli::{
    BaseAddresses, CallFrameInstruction, CfaRule, CieOrFde, DebugFrame, EhFrame, EhFrameHdr,
    Encoding, EndianSlice, LittleEndian, Operation, RegisterRule, UnwindContext, UnwindExpression,
    UnwindSection,
};

use super::image::Bytes;

pub(super) type Sections = ExplicitModuleSectionInfo<Bytes>;
type Reader<'a> = EndianSlice<'a, LittleEndian>;

/// Tables without a sorted index are checked as a whole before use; they are rare and small.
const MAX_UNSORTED: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cover {
    Described,
    Undescribed,
    /// Described, but not to be followed.
    Refused,
}

/// Drops tables that have no sorted index and are too large to check, or not safe to follow.
pub(super) fn without_unchecked(mut sections: Sections) -> Sections {
    if sections.eh_frame.is_some() && sections.eh_frame_hdr.is_some() {
        return sections;
    }
    let bases = bases(&sections);
    let frames = sections.eh_frame.as_deref();
    let frames = frames.is_none_or(|frames| all_safe(&eh_frame(frames), &bases, frames.len()));
    let debug = sections.debug_frame.as_deref();
    let debug = debug.is_none_or(|bytes| all_safe(&debug_frame(bytes), &bases, bytes.len()));
    if !frames || !debug {
        sections.eh_frame = None;
        sections.debug_frame = None;
    }
    sections
}

/// `address` is in the image's own address space. Looks things up as framehop does, so that both
/// see the same entry.
pub(super) fn cover(sections: &Sections, address: u64) -> Cover {
    let bases = bases(sections);
    match (&sections.eh_frame_hdr, &sections.eh_frame) {
        (Some(hdr), Some(frames)) => {
            sorted_cover(hdr, frames, &bases, address).unwrap_or(Cover::Undescribed)
        }
        (None, Some(frames)) => unsorted_cover(&eh_frame(frames), &bases, address),
        (_, None) => match &sections.debug_frame {
            Some(bytes) => unsorted_cover(&debug_frame(bytes), &bases, address),
            None => Cover::Undescribed,
        },
    }
}

/// A row that can be followed by adding and reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Frame {
        base: Base,
        offset: i64,
        /// Where the caller's frame pointer is, from the CFA; `None` where it was left alone.
        saved_fp: Option<i64>,
    },
    Outermost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Sp,
    Fp,
}

/// DWARF numbers of stack pointer, frame pointer, return address (System V ABI for x86-64, figure 3.36).
const SP: gimli::Register = gimli::Register(7);
const FP: gimli::Register = gimli::Register(6);
const RETURN_ADDRESS: gimli::Register = gimli::Register(16);

/// The plain row for `address`; `None` where there is no row or it takes more than that to follow.
pub(super) fn plain_row(sections: &Sections, address: u64) -> Option<Plain> {
    let bases = bases(sections);
    match (&sections.eh_frame_hdr, &sections.eh_frame) {
        (Some(hdr), Some(frames)) => {
            let section = eh_frame(frames);
            let fde = sorted_fde(hdr, &section, &bases, address)?;
            plain(&section, &fde, &bases, address)
        }
        (None, Some(frames)) => unsorted_row(&eh_frame(frames), &bases, address),
        (_, None) => unsorted_row(
            &debug_frame(sections.debug_frame.as_deref()?),
            &bases,
            address,
        ),
    }
}

fn unsorted_row<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    address: u64,
) -> Option<Plain> {
    let fde = section.fde_for_address(bases, address, S::cie_from_offset);
    plain(section, &fde.ok()?, bases, address)
}

fn plain<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    fde: &Fde<'a>,
    bases: &BaseAddresses,
    address: u64,
) -> Option<Plain> {
    if fde.is_signal_trampoline() {
        return None;
    }
    let mut context = UnwindContext::new();
    let row = fde.unwind_info_for_address(section, bases, &mut context, address);
    let row = row.ok()?;
    match row.register(RETURN_ADDRESS) {
        Some(RegisterRule::Offset(-8)) => {}
        Some(RegisterRule::Undefined) => return Some(Plain::Outermost),
        _ => return None,
    }
    let CfaRule::RegisterAndOffset { register, offset } = row.cfa() else {
        return None;
    };
    let base = match *register {
        SP => Base::Sp,
        FP => Base::Fp,
        _ => return None,
    };
    let saved_fp = match row.register(FP) {
        Some(RegisterRule::Offset(offset)) => Some(offset),
        None | Some(RegisterRule::Undefined | RegisterRule::SameValue) => None,
        _ => return None,
    };
    Some(Plain::Frame {
        base,
        offset: *offset,
        saved_fp,
    })
}

type Fde<'a> = gimli::FrameDescriptionEntry<Reader<'a>>;

fn sorted_fde<'a>(
    hdr: &'a [u8],
    section: &EhFrame<Reader<'a>>,
    bases: &BaseAddresses,
    address: u64,
) -> Option<Fde<'a>> {
    let parsed = EhFrameHdr::new(hdr, LittleEndian).parse(bases, 8).ok()?;
    let table = parsed.table()?;
    let pointer = table.lookup(address, bases).ok()?;
    let offset = table.pointer_to_offset(pointer).ok()?;
    let fde = section.fde_from_offset(bases, offset, EhFrame::cie_from_offset);
    fde.ok()
}

fn sorted_cover(hdr: &[u8], frames: &[u8], bases: &BaseAddresses, address: u64) -> Option<Cover> {
    let section = eh_frame(frames);
    let fde = sorted_fde(hdr, &section, bases, address)?;
    let mut context = UnwindContext::new();
    let row = fde.unwind_info_for_address(&section, bases, &mut context, address);
    let row = row.ok()?;
    let encoding = fde.cie().encoding();
    let cfa = match row.cfa() {
        CfaRule::Expression(expression) => straight(&section, expression, encoding),
        CfaRule::RegisterAndOffset { .. } => true,
    };
    let registers = row.registers().all(|(_, rule)| match rule {
        RegisterRule::Expression(expression) | RegisterRule::ValExpression(expression) => {
            straight(&section, expression, encoding)
        }
        _ => true,
    });
    Some(if cfa && registers {
        Cover::Described
    } else {
        Cover::Refused
    })
}

/// Every expression was checked when the section was taken.
fn unsorted_cover<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    address: u64,
) -> Cover {
    match section.fde_for_address(bases, address, S::cie_from_offset) {
        Ok(_) => Cover::Described,
        Err(_) => Cover::Undescribed,
    }
}

fn all_safe<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    bases: &BaseAddresses,
    size: usize,
) -> bool {
    let check = || -> Option<bool> {
        let mut entries = section.entries(bases);
        while let Some(entry) = entries.next().ok()? {
            let (mut instructions, encoding) = match &entry {
                CieOrFde::Cie(cie) => (cie.instructions(section, bases), cie.encoding()),
                CieOrFde::Fde(partial) => {
                    let fde = partial.parse(S::cie_from_offset).ok()?;
                    (fde.instructions(section, bases), fde.cie().encoding())
                }
            };
            while let Some(instruction) = instructions.next().ok()? {
                let (CallFrameInstruction::DefCfaExpression { expression }
                | CallFrameInstruction::Expression { expression, .. }
                | CallFrameInstruction::ValExpression { expression, .. }) = &instruction
                else {
                    continue;
                };
                if !straight(section, expression, encoding) {
                    return Some(false);
                }
            }
        }
        Some(true)
    };
    size <= MAX_UNSORTED && check().unwrap_or(false)
}

/// No branch at all: no compiler is known to need one in these tables.
fn straight<'a, S: UnwindSection<Reader<'a>>>(
    section: &S,
    expression: &UnwindExpression<usize>,
    encoding: Encoding,
) -> bool {
    let Ok(expression) = expression.get(section) else {
        return false;
    };
    let mut operations = expression.operations(encoding);
    loop {
        match operations.next() {
            Ok(None) => return true,
            Ok(Some(Operation::Bra { .. } | Operation::Skip { .. })) | Err(_) => return false,
            Ok(Some(_)) => {}
        }
    }
}

fn bases(sections: &Sections) -> BaseAddresses {
    let start = |range: &Option<Range<u64>>| range.as_ref().map_or(0, |range| range.start);
    BaseAddresses::default()
        .set_eh_frame_hdr(start(&sections.eh_frame_hdr_svma))
        .set_eh_frame(start(&sections.eh_frame_svma))
        .set_text(start(&sections.text_svma))
        .set_got(start(&sections.got_svma))
}

fn eh_frame(bytes: &[u8]) -> EhFrame<Reader<'_>> {
    let mut section = EhFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section
}

fn debug_frame(bytes: &[u8]) -> DebugFrame<Reader<'_>> {
    let mut section = DebugFrame::new(bytes, LittleEndian);
    section.set_address_size(8);
    section
}
