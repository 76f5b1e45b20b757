//! Each rule with its proof and its near misses, and what a report is besides its verdicts.

mod about_to_be_stuck;
mod alike;
mod at_exit;
mod called;
mod clock;
mod closed;
mod computing;
mod conn;
mod crowds;
mod elsewhere;
mod evidence;
mod forgotten;
mod forked;
mod goroutines;
mod grouping;
mod handovers;
mod in_part;

mod kept;
mod listeners;
mod loops;
mod not_stuck;
mod one_each;
mod one_function;
mod openings;
mod parked;
mod passed_on;
mod pooled;
mod pools;
mod put_aside;
mod questions;
mod scope;
mod told;
mod virtual_threads;
pub(super) mod world;
