//! Build, test and check commands of this repository; one file a subcommand. Nothing here ships.
#![forbid(unsafe_code)]

mod bench;
mod debian_root;
mod demo;
mod dist;
mod ebpf;
mod field;
mod fuzz;
mod layers;
mod lint;
mod process;
mod repo;
mod rigs;
mod run_matrix;
mod say;
mod soak;
mod test;
mod trouble;
mod vm;

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
    Demo(demo::Args),
    Ebpf(ebpf::Args),
    Test(test::Args),
    Layers(layers::Args),
    Lint(lint::Args),
    Vm(vm::Args),
    Bench(bench::Args),
    Rigs(rigs::Args),
    RunMatrix(run_matrix::Args),
    Field(field::Args),
    Fuzz(fuzz::Args),
    Soak(soak::Args),
    Dist(dist::Args),
    #[command(hide = true)]
    AsRoot(test::AsRoot),
    #[command(hide = true)]
    VmGuest(vm::GuestArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Ebpf(args) => ebpf::run(&args),
        Task::Test(args) => return test::run(&args),
        Task::Layers(args) => layers::run(&args),
        Task::Lint(args) => lint::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Rigs(args) => rigs::run(&args),
        Task::RunMatrix(args) => run_matrix::run(&args),
        Task::Field(args) => field::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Soak(args) => soak::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Vm(args) => vm::run(&args),
        Task::AsRoot(args) => test::as_root(&args),
        Task::VmGuest(args) => vm::guest(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}
