//! A record of the event ring, as the kernel program could have damaged it, up to the tracker.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::source::wire;
use tracer::track::Tracker;

fuzz_target!(|bytes: &[u8]| {
    let mut tracker = Tracker::default();
    if let Ok(record) = tracer_common::decode::record(bytes) {
        if let Some(input) = wire::inputs(&record) {
            tracker.apply(input);
        }
    }
});
