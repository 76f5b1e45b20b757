//! The helper process as it is: what holds it, and what becomes of a stack when it fails. Runs the
//! program `sockleak` itself as the helper, and real programs as those to be named. Needs root.
#![cfg(target_arch = "x86_64")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure is a failed test"
)]

mod confined;
mod failing;
mod files;
#[expect(dead_code, reason = "shared with the tests of unwinding and naming")]
#[path = "../../src/symbolize/tests/program.rs"]
mod program;

use std::fs;
use std::time::{Duration, Instant};

use program::OwnedCopy;
// Where `program` looks for it.
use tracer::symbolize;
use tracer::symbolize::{Resolved, Symbolizer};

/// The longest that one stack may take, with some for a busy machine.
const AT_MOST: Duration = Duration::from_secs(25);

fn symbolizer() -> Symbolizer {
    Symbolizer::with_program(env!("CARGO_BIN_EXE_sockleak").into())
}

/// Names a stack and sees that this did not take for ever.
fn resolve(symbolizer: &mut Symbolizer, copy: &OwnedCopy) -> Resolved {
    let begin = Instant::now();
    let resolved = symbolizer.resolve(&copy.view());
    assert!(begin.elapsed() < AT_MOST, "{:?}", begin.elapsed());
    resolved
}

fn has(resolved: &Resolved, function: &str) -> bool {
    let mut frames = resolved.stack.frames.iter();
    frames.any(|frame| frame.function.as_deref() == Some(function))
}

/// One frame without a name: module and offset of the program counter, by the list of mappings.
fn assert_degraded(resolved: &Resolved, copy: &OwnedCopy) {
    let [frame] = resolved.stack.frames.as_slice() else {
        panic!("{resolved:#?}");
    };
    assert!(resolved.stack.truncated);
    assert_eq!((&frame.function, &frame.file), (&None, &None));
    let module = frame.module.as_deref().unwrap();
    let maps = fs::read_to_string(format!("/proc/{}/maps", copy.pid)).unwrap();
    let expected = maps.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let offset = hex(words.nth(1)?)?;
        let (start, end) = (hex(start)?, hex(end)?);
        (start..end)
            .contains(&copy.pc)
            .then(|| (line.to_owned(), copy.pc - start + offset))
    });
    let (line, offset) = expected.unwrap();
    assert!(line.ends_with(module), "{module} {line}");
    assert_eq!(frame.offset, offset);
}

/// All that was said, in one text.
fn said(resolved: &Resolved) -> String {
    let texts = resolved.warnings.iter().map(ToString::to_string);
    texts.collect::<Vec<_>>().join("\n")
}
