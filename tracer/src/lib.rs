//! sockleak: follow TCP sockets through the kernel, find those stuck in `CLOSE_WAIT`, name the code.
#![forbid(unsafe_code)]

mod channel;
pub mod cli;
mod confine;
#[cfg(test)]
mod damaged;
pub mod diagnose;
pub mod doctor;
pub mod exit;
pub mod model;
pub mod options;
pub mod pipeline;
pub mod probe;
pub mod run;
pub mod serve;
pub mod sink;
pub mod source;
pub mod symbolize;
pub mod track;
