//! Build, test and check commands of this repository; one file a subcommand. Nothing here ships.
#![forbid(unsafe_code)]

mod bench;
mod ebpf;
mod layers;
mod lint;
mod process;
mod repo;
mod say;
mod test;
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
    Test(test::Args),
    Layers(layers::Args),
    Lint(lint::Args),
    Bench(bench::Args),
    #[command(hide = true)]
    AsRoot(test::AsRoot),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Ebpf(args) => ebpf::run(&args),
        Task::Test(args) => return test::run(&args),
        Task::Layers(args) => layers::run(&args),
        Task::Lint(args) => lint::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::AsRoot(args) => test::as_root(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}
