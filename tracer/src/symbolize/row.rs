//! What the kernel program is told about leaving one frame: a rule it can follow by adding and
//! reading, from the same tables the unwinder here uses, or that there is none. Decides also whose code
//! the frame is, by the policy of blame.

use tracer_common::unwind::{Frame as Leaving, Rule, Whose};

use super::blame;
use super::code::{Code, CodeIndex};
use super::go::Leave;
use super::maps::Backing;
use super::names::Place;
use super::tables::{self, Base, Plain};
use super::unwind::CodeAddress;
use crate::model::stack::Frame;

/// The part of a name before the version says that a module is the C library: it calls what it is
/// given, as to start a thread or to sort.
const C_LIBRARIES: [&str; 5] = ["libc", "libpthread", "ld-musl", "ld-linux", "libthr"];

/// How to leave the frame at `address`; `called` is false for the innermost one.
pub(super) fn rule(index: &CodeIndex, address: CodeAddress, called: bool) -> Rule {
    let here = address.lookup;
    let Some(code) = index.find(here) else {
        return Rule::UNDESCRIBED;
    };
    let (frame, saved_fp) = leaving(code, here, called).unwrap_or((Leaving::Undescribed, 0));
    Rule {
        frame,
        whose: whose(code, here),
        saved_fp,
    }
}

/// Whether it counts: somebody who works on the application, or on a package of it, wrote it, as far as is known without
/// debug information.
pub(super) fn counts(index: &CodeIndex, address: CodeAddress) -> bool {
    let code = index.find(address.lookup);
    let whose = code.map(|code| whose(code, address.lookup));
    matches!(whose, Some(Whose::Own | Whose::Package))
}

#[cfg(target_arch = "x86_64")]
fn leaving(code: &Code, here: u64, called: bool) -> Option<(Leaving, i16)> {
    if code.mapping.backing == Backing::Anonymous {
        return None;
    }
    match code.go_leave(here) {
        Some(Leave::Outermost) => return Some((Leaving::Outermost, 0)),
        Some(Leave::Unknown) => return None,
        Some(Leave::Depth(depth)) => {
            let above = i32::try_from(depth.checked_add(8)?).ok()?;
            // Go saves the frame pointer below the return address wherever it makes room.
            return Some((Leaving::AboveSp(above), if depth > 0 { -16 } else { 0 }));
        }
        None => {}
    }
    let (image, bias) = (code.image.as_deref()?, code.bias?);
    let plain = match tables::plain_row(&image.sections, here.wrapping_sub(bias)) {
        Some(plain) => plain,
        None if called && code.is_entry(here) => return Some((Leaving::Outermost, 0)),
        // Go's system calls are made in assembly that keeps nothing on the stack.
        None if !called && code.is_go() => return Some((Leaving::AboveSp(8), 0)),
        None => return None,
    };
    let Plain::Frame {
        base,
        offset,
        saved_fp,
    } = plain
    else {
        return Some((Leaving::Outermost, 0));
    };
    let offset = i32::try_from(offset).ok()?;
    let saved_fp = i16::try_from(saved_fp.unwrap_or(0)).ok()?;
    let frame = match base {
        Base::Sp => Leaving::AboveSp(offset),
        Base::Fp => Leaving::AboveFp(offset),
    };
    Some((frame, saved_fp))
}

/// The kernel program looks for return addresses below the CFA, as they lie on x86-64 only.
#[cfg(not(target_arch = "x86_64"))]
fn leaving(_: &Code, _: u64, _: bool) -> Option<(Leaving, i16)> {
    None
}

fn whose(code: &Code, here: u64) -> Whose {
    let module = code.mapping.name.as_str();
    if C_LIBRARIES
        .iter()
        .any(|library| blame::is_module(module, library))
    {
        return Whose::CLibrary;
    }
    if code.mapping.backing != Backing::File || blame::is_library(module) {
        return Whose::Library;
    }
    let whose = |place: &Place| {
        let frame = Frame {
            function: place.function.clone(),
            file: place.file.clone(),
            module: Some(module.to_owned()),
            of_system: code.mapping.of_system,
            ..Frame::default()
        };
        if !blame::is_application(&frame) {
            Whose::Library
        } else if blame::is_of_package(&frame) {
            Whose::Package
        } else {
            Whose::Own
        }
    };
    let places = code.cheap_places(here);
    let all: Vec<Whose> = places.iter().map(whose).collect();
    let inlined = [Whose::Own, Whose::Package, Whose::Library];
    let first = inlined.into_iter().find(|one| all.contains(one));
    first.unwrap_or_else(|| whose(&Place::default()))
}
