//! Build, test and check commands of this repository; one file a subcommand. Nothing here ships.
#![forbid(unsafe_code)]

mod ebpf;
mod process;
mod repo;
mod say;
mod trouble;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, test and check sockleak.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Ebpf(ebpf::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Ebpf(args) => ebpf::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}
