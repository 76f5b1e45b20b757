//! `sockleak serve`'s other process: answers requests with what the tracer hands to it. It has no privilege,
//! opens nothing, and tells the tracer nothing but that it is there, so no request reaches the session.

pub mod config;
pub mod link;
pub mod listen;
pub mod published;

mod http;
mod label;
mod message;
mod metrics;
mod page;

use std::{ffi::OsStr, io, os::fd::AsFd as _, process::ExitCode};

pub use metrics::reference::reference;

/// Not for users, and unknown to every other program that might stand here in its place.
const ARGUMENT: &str = "--internal-answer-requests";

/// Serves until the tracer goes away, when that is what this process was started for.
pub fn serve_if_asked() -> Option<ExitCode> {
    let asked = std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT));
    asked.then(|| match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn run() -> io::Result<()> {
    // A panic's text may quote what a client sent.
    std::panic::set_hook(Box::new(|_| {}));
    http::run(io::stdin().as_fd().try_clone_to_owned()?)
}
