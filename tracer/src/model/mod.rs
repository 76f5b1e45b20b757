//! The vocabulary every stage shares. Plain data: no I/O, no clock, no behaviour beyond display.

pub mod stack;
