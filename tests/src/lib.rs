//! Test support: builds the rigs, plays their clients, runs `sockleak` with a deadline and reads
//! its report. Used by the tests under `tests/` and by the `rigs` program; never by the product.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "test support fails a test by panicking, and may say why on stderr"
)]

pub mod backend;
pub mod bpf;
pub mod browser;
pub mod client;
pub mod compile;
pub mod environment;
pub mod expect;
pub mod exporter;
pub mod flavour;
pub mod haproxy;
pub mod http;
pub mod installed;
pub mod judge;
pub mod keeper;
pub mod lines;
pub mod manifest;
pub mod moment;
pub mod netns;
pub mod paths;
pub mod privilege;
pub mod process;
pub mod prometheus;
pub mod recording;
pub mod report;
pub mod rig;
pub mod side_by_side;
pub mod skip;
pub mod sockleak;
pub mod ss;
pub mod transitions;
pub mod wait;
