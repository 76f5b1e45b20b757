//! A file given to `sockleak replay`, up to the report.
#![no_main]

use std::io::Write;

use libfuzzer_sys::fuzz_target;
use tracer::diagnose::{self, Style};
use tracer::source::recording::Replay;
use tracer::track::Tracker;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(bytes).expect("write it");
    let Ok(mut replay) = Replay::open(file.path()) else {
        return;
    };
    let mut tracker = Tracker::default();
    while let Ok(Some(input)) = replay.next_input() {
        tracker.apply(input);
    }
    let style = Style {
        sockets_per_site: 5,
    };
    let _ = diagnose::report(&tracker, style, &|_| None);
});
