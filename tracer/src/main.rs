//! The command `sockleak`: parse, run, exit.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tracer::{cli, exit, pipeline, run, serve, symbolize};

/// Of all processes that this program becomes. It runs for months, and a host that had many sockets once must not
/// have lost that memory: glibc's allocator kept it, with holes.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let asked = symbolize::serve_if_asked()
        .or_else(run::serve_if_asked)
        .or_else(serve::serve_if_asked)
        .or_else(pipeline::trace_if_asked);
    if let Some(code) = asked {
        return code;
    }
    match cli::parse() {
        Ok(options) => exit::finish(pipeline::run(&options)),
        Err(code) => code,
    }
}
