//! Where inputs come from: the attached kernel program, /proc, or a recording.

pub mod descriptors;
pub mod epoll;
pub mod freezer;
mod goroutines;
mod java;
pub mod jvm;
pub mod listeners;
pub mod process;
pub mod recording;
pub mod rows;
pub mod runtimes;
pub mod samples;
pub mod service;
pub mod sockdiag;
pub mod stacks;
pub mod syscall;
pub mod tasks;
pub mod threads;
pub mod wait;
mod walk;
pub mod wire;
