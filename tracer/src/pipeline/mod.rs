//! Puts the stages together, one function per command. The only place where sources, the pure middle
//! and sinks meet; it decides nothing about sockets.

mod anchor;
mod blaming;
mod closes;
mod endangered;
mod enrich;
mod evidence;
mod executed;
mod explain;
mod figures;
mod intake;
mod loops;
mod output;
mod pace;
mod program_end;
mod replay;
mod samples;
mod scope;
mod series;
mod serve;
mod session;
mod snapshot;
mod start;
mod supervisor;
mod terminal;
mod trace;
mod tree;
mod trouble;
mod unmatched;
mod visits;
mod watch;

use anyhow::Context;
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub use tree::trace_if_asked;

use crate::{
    doctor,
    options::{Mode, Options},
    probe::{host::Host, privilege},
    run,
};

/// Runs the command; the result is the exit code.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    init_log(options.verbosity);
    if let Mode::Run(wanted) = &options.mode {
        return run::run(options, wanted);
    }
    let host = Host::probe();
    privilege::check_required(&options.mode, &host)?;
    match &options.mode {
        Mode::Watch => current_thread()?.block_on(watch::run(options, &host)),
        Mode::Snapshot => snapshot::run(options, &host),
        Mode::Trace => current_thread()?.block_on(trace::run(options)),
        Mode::Doctor => doctor::run(options),
        Mode::Replay(file) => replay::run(options, file),
        Mode::Explain(verdict) => explain::run(*verdict),
        Mode::Run(wanted) => run::run(options, wanted),
        Mode::Serve(web) => current_thread()?.block_on(serve::run(options, web, &host)),
    }
}

/// One thread: the hot path is in the kernel, and a tracer must not spread over a busy machine.
fn current_thread() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the event loop")
}

/// Messages about the tool itself go to stderr: warnings always, the kernel program's log at `-vv`. How each of its
/// fields was found and fitted in is nobody's concern.
fn init_log(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::TRACE,
    };
    let loading = level.min(LevelFilter::INFO);
    let targets = Targets::new()
        .with_default(level)
        .with_target("aya::bpf", loading)
        .with_target("aya_obj", loading);
    let to_stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(verbosity > 1)
        .with_filter(targets);
    let _already_set = tracing_subscriber::registry().with(to_stderr).try_init();
}
