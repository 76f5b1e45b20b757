//! The command `sockleak`: parse, run, exit.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use tracer::{cli, exit, pipeline};

fn main() -> ExitCode {
    match cli::parse() {
        Ok(options) => exit::finish(pipeline::run(&options)),
        Err(code) => code,
    }
}
