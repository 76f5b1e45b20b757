//! The command line: what each command takes, and what a wrong one is answered.

mod arguments;
mod run;
mod serve;
mod translate;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode};

use clap::{
    CommandFactory as _, Parser as _,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tracer_common::config::MAX_PORTS;

use self::arguments::Cli;
use crate::{
    exit,
    options::{Mode, Options},
};

/// Reads the command line of this process. On `--help`, `--version` and wrong usage everything has
/// been said and only the exit code is left.
pub fn parse() -> Result<Options, ExitCode> {
    // Where CI is set anstream colours whatever the terminal is.
    if std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        anstream::ColorChoice::Never.write_global();
    }
    parse_from(std::env::args_os()).map_err(|error| {
        if let Some(sentence) = better(&error) {
            // A closed stderr must not change the exit code.
            let _ = writeln!(anstream::stderr(), "{sentence}");
        } else {
            let _ = error.print();
        }
        match error.exit_code() {
            0 => exit::DONE.into(),
            _ => exit::USAGE.into(),
        }
    })
}

/// All commands and options, for manual pages and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

fn parse_from<T>(arguments: impl IntoIterator<Item = T>) -> Result<Options, clap::Error>
where
    T: Into<OsString> + Clone,
{
    let cli = Cli::try_parse_from(arguments)?;
    let options = Options::from(cli);
    check(&options)?;
    Ok(options)
}

/// What is wrong only in combination.
fn check(options: &Options) -> Result<(), clap::Error> {
    let wrong = |sentence: String| Err(Cli::command().error(ErrorKind::ValueValidation, sentence));
    let ports = options.filter.ports.len();
    if ports > MAX_PORTS {
        return wrong(format!(
            "{ports} different ports for '--port <N>': the kernel program compares at most {MAX_PORTS}"
        ));
    }
    if options
        .filter
        .comm
        .as_ref()
        .is_some_and(|comm| comm.name().is_empty())
    {
        return wrong("the name for '--comm <NAME>' is empty".to_owned());
    }
    if let Mode::Run(run) = &options.mode {
        let files = [&run.outputs.json, &run.outputs.junit, &run.outputs.sarif];
        let files = files.into_iter().chain([&options.folded, &options.record]);
        let mut files: Vec<&PathBuf> = files.flatten().collect();
        files.sort();
        if let Some([file, _]) = files.array_windows().find(|[one, next]| one == next) {
            return wrong(format!(
                "two outputs go to the same file: {}",
                file.display()
            ));
        }
    }
    if options.output.is_some() && options.output == options.record {
        return wrong("--output and --record name the same file".to_owned());
    }
    Ok(())
}

/// What clap's own words would leave the user alone with.
fn better(error: &clap::Error) -> Option<String> {
    let asked = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg]
        .into_iter()
        .find_map(|kind| match error.get(kind) {
            Some(ContextValue::String(word)) => Some(word.as_str()),
            _ => None,
        })?;
    let known = Cli::command().find_subcommand(asked).is_some();
    (known && error.kind() == ErrorKind::ArgumentConflict)
        .then(|| format!("error: options go after the command: sockleak {asked} [OPTIONS]"))
}
