//! The kernel's type information, from a kernel newer or stranger than any known one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::probe::layout::Layout;

fuzz_target!(|bytes: &[u8]| {
    let _ = Layout::from_btf(bytes);
});
