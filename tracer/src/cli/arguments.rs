//! The options of each command, as clap reads them and as `--help` shows them.
#![expect(
    clippy::doc_markdown,
    reason = "the comments on options are the text of --help"
)]

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args, Parser, Subcommand, ValueEnum,
    builder::{NonEmptyStringValueParser, RangedU64ValueParser},
    value_parser,
};

use super::{run::Run, serve::Serve};
use crate::model::runtime::Runtimes;
use crate::options::{Verdict, parse_duration, parse_verdict};

/// Find sockets stuck in CLOSE_WAIT and name the code that leaks them; without a command: watch
#[derive(Debug, Parser)]
#[command(
    name = "sockleak",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    after_help = AFTER_HELP
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub watch: Watch,
}

const AFTER_HELP: &str = "\
Examples:
  sudo sockleak                            until Ctrl-C, then the report
  sudo sockleak --duration 5m --pid 4242   one process and its children
  sudo sockleak snapshot --json | jq '.sites[] | {verdict, count, blame}'
  sudo sockleak trace --port 5432          every transition, one line each
  sudo sockleak watch --record leak.rec    keep it; later: sockleak replay leak.rec
  sockleak run -- ./integration-test       exit 23 when the test leaks sockets
  sudo sockleak serve                      for months: metrics and a page on 127.0.0.1:10435
  sockleak doctor                          what works on this host, and the fix for the rest
  sockleak explain worker-starvation       what a verdict means, what proves it, what to do

Exit codes:
  0    done
  2    wrong usage
  23   run, --fail-on-leak: at least one leak (--error-exitcode changes the number)
  124  run --until: the finding did not appear in time
  125  sockleak itself failed, or lost events leave the verdict open
  126  run: CMD cannot be executed
  127  run: CMD is not found; else CMD's own failure wins";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Follow every socket; report at Ctrl-C, SIGTERM or the end of --duration [default]
    Watch(Watch),
    /// Report at once what is stuck now, as far as it shows without history
    Snapshot(Snapshot),
    /// Print every TCP state transition as it happens, one line each
    Trace(Trace),
    /// Run as a service: metrics for Prometheus, the report as JSON, and a page to look at
    Serve(Serve),
    /// Analyse a recording made by `watch --record`; needs no privilege
    Replay(Replay),
    /// Start CMD, follow it and its children alone, and fail when they leak sockets
    Run(Box<Run>),
    /// Say what this host allows, what is missing, what that costs, and the fix
    Doctor(Doctor),
    /// Say what a verdict means, what proves it and what to do; without one: list all
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    pub stop: Stop,
    #[command(flatten)]
    pub judge: Judge,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub print: Print,
    #[command(flatten)]
    pub addresses: Addresses,
    #[command(flatten)]
    pub cmdline: Cmdline,
    #[command(flatten)]
    pub looking: Looking,
    /// Also keep all observations in FILE, for `sockleak replay FILE`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Learn accept sites by auto, fexit, syscall (slows all system calls by 50 ns) or none
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        value_enum,
        hide_possible_values = true
    )]
    pub accept_hook: Accept,
    /// Watch reads, writes and accepts always, or only while something is leaking, of the processes concerned
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "always",
        value_enum,
        hide_possible_values = true
    )]
    pub evidence: When,
}

#[derive(Debug, Args)]
pub(super) struct Snapshot {
    #[command(flatten)]
    pub judge: Judge,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub print: Print,
    #[command(flatten)]
    pub addresses: Addresses,
    #[command(flatten)]
    pub cmdline: Cmdline,
    #[command(flatten)]
    pub looking: Looking,
    /// When sockets may be younger than --min-age, look again after this time (a moment by default)
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub look_again: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Trace {
    #[command(flatten)]
    pub stop: Stop,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub print: Print,
    #[command(flatten)]
    pub addresses: Addresses,
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// As in the report: eof-ignored, worker-starvation, …
    #[arg(value_parser = parse_verdict)]
    pub verdict: Option<Verdict>,
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The recording
    pub file: PathBuf,
    #[command(flatten)]
    pub judge: Judge,
    #[command(flatten)]
    pub print: Print,
    #[command(flatten)]
    pub addresses: Addresses,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    pub print: Print,
}

#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Stop after this time (500ms, 20s, 5m, 1h) instead of at Ctrl-C
    #[arg(long, value_name = "DUR", value_parser = positive_duration)]
    pub duration: Option<Duration>,
}

/// What counts as a finding, and what it does to the exit code.
#[derive(Debug, Args)]
pub(super) struct Judge {
    /// Report sockets in CLOSE_WAIT for at least this long [default: 60s; replay: as recorded]
    #[arg(long, value_name = "DUR", value_parser = parse_duration)]
    pub min_age: Option<Duration>,
    /// List at most N sockets with each finding, oldest first
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub sockets_per_site: usize,
    /// Do not blame frames of this module (libpool, or libpool.so.2), nor functions whose names start so
    /// (pool::); may be repeated
    #[arg(long, value_name = "MODULE|PREFIX", value_parser = NonEmptyStringValueParser::new())]
    pub not_blame: Vec<String>,
    /// Also write stacks of stuck sockets to FILE, one finding a line, for flame graphs
    #[arg(long, value_name = "FILE")]
    pub folded: Option<PathBuf>,
    /// Exit with 23 when there is a leak
    #[arg(long)]
    pub fail_on_leak: bool,
    /// With --fail-on-leak: exit with N instead of 23
    #[arg(long, value_name = "N", requires = "fail_on_leak", value_parser = leak_code)]
    pub error_exitcode: Option<u8>,
}

/// Whose sockets.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which sockets (all conditions must hold)")]
pub(super) struct Which {
    /// Of this process and its children; may be repeated
    #[arg(long = "pid", value_name = "PID", value_parser = pid())]
    pub pids: Vec<u32>,
    /// Of processes with this name (as in `ps -o comm`; the kernel keeps 15 bytes)
    #[arg(long, value_name = "NAME")]
    pub comm: Option<String>,
    /// With this port, local or remote; may be repeated, at most 8 times
    #[arg(long = "port", value_name = "N", value_parser = value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,
    /// Of processes in this cgroup or below, such as /sys/fs/cgroup/system.slice
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Print {
    /// Machine-readable: one JSON document (trace: one JSON object a line)
    #[arg(long)]
    pub json: bool,
    /// Write to FILE instead of stdout
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Say more; -vv says what the program itself does
    #[arg(short, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Addresses {
    /// Leave out remote addresses
    #[arg(long)]
    pub redact_addrs: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct Cmdline {
    /// Show command lines of processes; they can hold secrets
    #[arg(long)]
    pub show_cmdline: bool,
}

/// How far it goes to find out more.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options")]
pub(super) struct Looking {
    /// Do not ask Java virtual machines for the names and frames of their threads
    #[arg(long)]
    pub no_jvm_attach: bool,
    /// Read what threads execute, and of Node.js who listens to sockets, from the structures of
    /// these language runtimes only: of python,java,go,node,ruby,php, or none
    #[arg(long, value_name = "LIST", value_parser = runtimes)]
    pub runtimes: Option<Runtimes>,
}

pub(super) fn runtimes(text: &str) -> Result<Runtimes, String> {
    let mut found = Runtimes::NONE;
    if text == "none" {
        return Ok(found);
    }
    for name in text.split(',') {
        match name {
            "python" => found.python = true,
            "java" => found.java = true,
            "go" => found.go = true,
            "node" => found.node = true,
            "ruby" => found.ruby = true,
            "php" => found.php = true,
            _ => {
                return Err(
                    "known are python, java, go, node, ruby and php, separated by commas, or none"
                        .to_owned(),
                );
            }
        }
    }
    Ok(found)
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Accept {
    Auto,
    Fexit,
    Syscall,
    None,
}

/// When it is watched what processes do with their sockets.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum When {
    Always,
    Leaking,
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("the run would end before it begins".to_owned()),
        duration => Ok(duration),
    }
}

/// Codes that already mean something else would make the answer ambiguous.
pub(super) fn leak_code(text: &str) -> Result<u8, String> {
    match text.parse() {
        Err(_) => Err("an exit code is a number from 1 to 255".to_owned()),
        Ok(0) => Err("0 means that nothing leaked".to_owned()),
        Ok(2) => Err("2 means wrong usage".to_owned()),
        Ok(125..=127) => Err("125 to 127 mean that sockleak or a command failed".to_owned()),
        Ok(code) => Ok(code),
    }
}

/// The kernel's largest `pid_max` (include/linux/threads.h:PID_MAX_LIMIT) is 2^22.
fn pid() -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(1..=1 << 22)
}
