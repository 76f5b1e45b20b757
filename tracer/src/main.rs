//! The command `sockleak`: parse, run, exit.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tracer::{cli, exit, pipeline, run, serve, symbolize};

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
