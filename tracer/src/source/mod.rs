//! Where inputs come from: the attached kernel program, /proc, or a recording.

pub mod epoll;
pub mod process;
pub mod recording;
pub mod stacks;
pub mod syscall;
pub mod threads;
pub mod wire;
