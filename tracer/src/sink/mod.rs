//! Where a finished report goes. A sink only renders: it decides nothing and reads no clock.

pub mod folded;
pub mod github;
pub mod human;
pub mod json;
pub mod junit;
pub mod paths;
mod plain;
pub mod redact;
pub mod sarif;
mod telling;
pub mod trace;

#[cfg(test)]
mod ci_tests;
#[cfg(test)]
pub(crate) mod samples;
