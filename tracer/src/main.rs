//! The command `sockleak`: parse, run, exit.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tracer::{cli, exit, pipeline, symbolize};

fn main() -> ExitCode {
    if let Some(code) = symbolize::serve_if_asked() {
        return code;
    }
    match cli::parse() {
        Ok(options) => exit::finish(pipeline::run(&options)),
        Err(code) => code,
    }
}
