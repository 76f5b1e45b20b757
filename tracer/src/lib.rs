//! sockleak: follow TCP sockets through the kernel, find those stuck in `CLOSE_WAIT`, name the code.
#![forbid(unsafe_code)]

pub mod cli;
pub mod exit;
pub mod model;
pub mod options;
pub mod probe;
pub mod sink;
pub mod symbolize;
