//! Where the report goes, and what its exit code is.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use jiff::tz::TimeZone;

use super::{blaming, scope, terminal};
use crate::{
    exit::{self, Explained, file_error},
    model::{input::Scope, report::Report, stack::Frame, verdict::Severity},
    options::Options,
    sink::{
        folded,
        human::{self, HumanOptions},
        json, redact,
    },
};

/// Where ordinary output goes: the file of `--output`, or stdout. Opened before tracing starts, so that a bad
/// path is known at once and not after an hour.
pub enum Output {
    Stdout(io::Stdout),
    File(File),
}

impl Output {
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        match &options.output {
            None => Ok(Self::Stdout(io::stdout())),
            Some(path) => File::create(path)
                .map(Self::File)
                .map_err(|error| file_error("write to", path, error)),
        }
    }
}

/// The files of a command that ends with a report.
pub struct Outputs {
    report: Output,
    folded: Option<File>,
}

impl Outputs {
    pub fn open(options: &Options) -> anyhow::Result<Self> {
        let folded = options.folded.as_deref().map(|path| {
            File::create(path).map_err(|error| file_error("write folded stacks to", path, error))
        });
        Ok(Self {
            report: Output::open(options)?,
            folded: folded.transpose()?,
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

pub fn human<'a>(
    options: &Options,
    scope: Option<&Scope>,
    is_application: &'a dyn Fn(&Frame) -> bool,
) -> HumanOptions<'a> {
    HumanOptions {
        color: terminal::color(options.output.is_some()),
        width: terminal::width(),
        verbose: options.verbosity > 0,
        every_frame: options.verbosity > 1,
        time_zone: TimeZone::system(),
        scope: scope.and_then(scope::words),
        is_application,
    }
}

/// What a run has come to.
pub struct Conclusion {
    pub report: Report,
    pub scope: Scope,
    /// A filter that nothing matched: then "nothing is stuck" would be no news at all.
    pub unmatched: Option<Explained>,
}

/// Writes the report and gives the exit code it stands for.
pub fn deliver(conclusion: Conclusion, options: &Options, outputs: Outputs) -> anyhow::Result<u8> {
    let Conclusion {
        mut report,
        scope,
        unmatched,
    } = conclusion;
    if let Some(nothing) = &unmatched
        && !options.json
    {
        return Err(nothing.clone().into());
    }
    if options.redact_addrs {
        redact::redact_remote_addresses(&mut report);
    }
    if let (Some(file), Some(path)) = (outputs.folded, &options.folded) {
        folded::write_report(&mut BufWriter::new(file), &report)
            .map_err(|error| file_error("write folded stacks to", path, error))?;
    }
    let mut out = BufWriter::new(outputs.report);
    let policy = blaming::policy(options);
    let is_application = |frame: &Frame| policy.is_application(frame);
    let written = if options.json {
        json::write_report(&mut out, &report)
    } else {
        human::write_report(
            &mut out,
            &report,
            &human(options, Some(&scope), &is_application),
        )
    };
    written
        .and_then(|()| out.flush())
        .map_err(|error| failed(options, error))?;
    if let Some(nothing) = unmatched {
        return Err(nothing.into());
    }
    let leaks = report
        .sites
        .iter()
        .any(|site| site.severity == Severity::Leak);
    let open = report.totals.undecided + report.totals.unjudged;
    if open > 0 && !leaks && options.leak_exit.is_some() {
        tracing::warn!(
            "whether there is a leak is not known: {} could not be judged, for want of a later look",
            crate::model::quantity::counted(open, "socket")
        );
    }
    Ok(exit::code_for_outcome(
        leaks,
        report.window.complete && open == 0,
        options.leak_exit,
    ))
}

/// An error of the output stream, with the name the user knows it by.
pub fn failed(options: &Options, error: io::Error) -> anyhow::Error {
    match &options.output {
        Some(path) => file_error("write the report to", path, error),
        None if error.kind() == io::ErrorKind::BrokenPipe => error.into(),
        None => file_error("write the report to", std::path::Path::new("stdout"), error),
    }
}
