//! The other program in this binary: unwinds and names for the tracer that started it. It holds no
//! privilege, opens nothing, and is told no path; whatever a hostile file makes of it stays in it.

mod goroutines;
mod listeners;
mod managed;
mod sandbox;
mod seccomp;
mod serve;
mod tasks;
mod virtual_threads;

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

pub(in crate::symbolize) use serve::serve;

/// Not for users, and unknown to every other program that might stand here in its place.
pub(super) const ARGUMENT: &str = "--internal-read-program-files";

/// The most memory a helper may have mapped. The names of one program with 1 GiB of debug
/// information need 1 GiB for the copy and about half of that for what is made of it.
pub(super) const MAX_MEMORY: u64 = 3 << 30;

/// Serves until the tracer goes away, when that is what this process was started for.
pub fn serve_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT));
    asked.then(|| match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn run() -> Result<(), io::Error> {
    // A panic's text may quote what is in a file.
    std::panic::set_hook(Box::new(|_| {}));
    let socket = io::stdin().as_fd().try_clone_to_owned()?;
    let without = sandbox::confine();
    // The tracer is gone, or says what cannot be understood: there is nobody to tell.
    serve(socket, without).map_err(io::Error::other)
}
