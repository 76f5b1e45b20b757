//! Writes what a run has found to where the user wants it. Files are opened before CMD begins, with the
//! rights of the user who named them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::tz::TimeZone;

use super::baseline::Baseline;
use super::follow::Execution;
use super::lines::Disarmed;
use crate::exit::file_error;
use crate::model::{outcome::Outcome, report::Report, stack::Frame};
use crate::options::{Options, Run};
use crate::sink::human::{self, HumanOptions};
use crate::sink::{folded, json, redact};
use crate::symbolize::blame::Policy;

pub(super) struct Delivery<'a> {
    options: &'a Options,
    run: &'a Run,
    record: Option<File>,
    json: Option<File>,
    folded: Option<File>,
    width: usize,
}

impl<'a> Delivery<'a> {
    pub(super) fn open(options: &'a Options, run: &'a Run) -> anyhow::Result<Self> {
        let create = |doing: &str, path: Option<&Path>| {
            let file =
                path.map(|path| File::create(path).map_err(|error| file_error(doing, path, error)));
            file.transpose()
        };
        run.known
            .write_baseline
            .as_deref()
            .map(writable)
            .transpose()?;
        Ok(Self {
            options,
            run,
            record: options.record.as_deref().map(private).transpose()?,
            json: create("write the report to", run.outputs.json.as_deref())?,
            folded: create("write folded stacks to", options.folded.as_deref())?,
            width: width(),
        })
    }

    pub(super) fn record(&self) -> Option<&File> {
        self.record.as_ref()
    }

    pub(super) fn deliver(
        &mut self,
        execution: &Execution,
        outcome: &Outcome,
    ) -> anyhow::Result<()> {
        let mut report = execution
            .traced
            .as_ref()
            .ok()
            .map(|last| last.report.clone());
        if let Some(report) = &mut report {
            report.totals.suppressed = outcome.suppressed() as u64;
            if self.options.redact_addrs {
                redact::redact_remote_addresses(report);
            }
            if let (Some(file), Some(path)) = (&self.json, &self.run.outputs.json) {
                let mut out = BufWriter::new(file);
                json::write_report(&mut out, report)
                    .and_then(|()| out.flush())
                    .map_err(|error| file_error("write the report to", path, error))?;
            }
            if let (Some(file), Some(path)) = (&self.folded, &self.options.folded) {
                folded::write_report(&mut BufWriter::new(file), report)
                    .map_err(|error| file_error("write folded stacks to", path, error))?;
            }
        }
        self.write_baseline(outcome)?;
        self.tell(outcome, report.as_ref())
    }

    /// Everything that would fail without it.
    fn write_baseline(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let Some(path) = &self.run.known.write_baseline else {
            return Ok(());
        };
        let known = Baseline::of(outcome.findings.iter().map(|finding| &finding.site));
        fs::write(path, known.text()?)
            .map_err(|error| file_error("write the baseline to", path, error))
    }

    /// For the person who reads the log. A closed stderr is no failure of the run.
    fn tell(&self, outcome: &Outcome, report: Option<&Report>) -> anyhow::Result<()> {
        let policy = Policy {
            not_blamed: self.options.not_blame.clone(),
        };
        let is_application = |frame: &Frame| policy.is_application(frame);
        let options = HumanOptions {
            color: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
            width: self.width,
            verbose: self.options.verbosity > 0,
            time_zone: TimeZone::system(),
            scope: None,
            is_application: &is_application,
        };
        let mut out = Disarmed::new(io::stderr());
        match human::write_outcome(&mut out, outcome, report, &options) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(file_error(
                "write the report to",
                Path::new("stderr"),
                error,
            )),
            _ => Ok(()),
        }
    }
}

/// Left as it is until the end: it may be the baseline that is compared with.
fn writable(path: &Path) -> anyhow::Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|error| file_error("write the baseline to", path, error))?;
    Ok(())
}

/// A recording holds addresses and names.
fn private(path: &Path) -> anyhow::Result<File> {
    let mut how = OpenOptions::new();
    how.write(true).create(true).truncate(true).mode(0o600);
    how.open(path)
        .map_err(|error| file_error("write the recording to", path, error))
}

fn width() -> usize {
    const DEFAULT: usize = 100;
    let size = rustix::termios::tcgetwinsize(io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns > 0 { columns } else { DEFAULT }
}
