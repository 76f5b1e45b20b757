//! Where a finished report goes. A sink only renders: it decides nothing and reads no clock.

pub mod human;
pub mod json;
mod quantity;
pub mod redact;
pub mod trace;

#[cfg(test)]
mod samples;
