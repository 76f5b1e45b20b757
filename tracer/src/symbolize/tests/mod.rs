//! Real programs, blocked in a real system call, seen the way the kernel hook sees them.
// They know system call numbers and register names.
#![cfg(target_arch = "x86_64")]

mod golang;
mod hostile;
mod identity;
mod languages;
mod libcs;
mod made;
mod native;
mod program;
mod speed;
mod tableless;

use super::{Resolved, Symbolizer};
use crate::model::stack::Frame;

/// Functions that were really called, innermost first; `?` for those without a name.
fn functions(frames: &[Frame]) -> Vec<&str> {
    let names = frames.iter().filter(|frame| !frame.inlined);
    names
        .map(|frame| frame.function.as_deref().unwrap_or("?"))
        .collect()
}

fn named<'a>(resolved: &'a Resolved, function: &str) -> &'a Frame {
    let found = resolved
        .stack
        .frames
        .iter()
        .find(|frame| frame.function.as_deref() == Some(function));
    found.unwrap_or_else(|| panic!("no {function} in {resolved:#?}"))
}

fn follows(frames: &[Frame], inner: &str, outer: &str) -> bool {
    functions(frames)
        .windows(2)
        .any(|pair| pair == [inner, outer])
}

fn resolve(blocked: &program::Blocked) -> Resolved {
    Symbolizer::new().resolve(&blocked.copy().view())
}
