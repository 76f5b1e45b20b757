//! The vocabulary every stage shares. Plain data: no I/O, no clock, no behaviour beyond display.

pub mod actor;
pub mod code_change;
pub mod connection;
pub mod cookie;
pub mod counters;
pub mod endangered;
pub mod endpoint;
pub mod epoll;
pub mod input;
pub mod listeners;
pub mod outcome;
pub mod quantity;
pub mod report;
pub mod runtime;
pub mod samples;
pub mod socket;
pub mod stack;
pub mod task;
pub mod tcp_state;
pub mod trace_event;
pub mod transition;
pub mod untrusted;
pub mod verdict;
pub mod wait;
