//! Where a finished report goes. A sink only renders: it decides nothing and reads no clock.

pub mod folded;
pub mod human;
pub mod json;
pub mod redact;
mod telling;
pub mod trace;

#[cfg(test)]
mod samples;
