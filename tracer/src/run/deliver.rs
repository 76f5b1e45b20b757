//! Writes what a run has found to where the user wants it. Files are opened before CMD begins, with the
//! rights of the user who named them.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::baseline::Baseline;
use super::lines::Disarmed;
use crate::exit::file_error;
use crate::model::{outcome::Outcome, report::Report, stack::Frame};
use crate::options::{Options, Run};
use crate::sink::human::{self, HumanOptions};
use crate::sink::paths::Root;
use crate::sink::{folded, github, json, junit, redact, sarif};
use crate::symbolize::blame::Policy;

pub(super) struct Delivery<'a> {
    options: &'a Options,
    run: &'a Run,
    record: Option<File>,
    json: Option<Named>,
    junit: Option<Named>,
    sarif: Option<Named>,
    folded: Option<Named>,
    root: Root,
}

struct Named {
    file: File,
    path: PathBuf,
    doing: &'static str,
}

impl<'a> Delivery<'a> {
    pub(super) fn open(options: &'a Options, run: &'a Run) -> anyhow::Result<Self> {
        let to = &run.outputs;
        if let Some(path) = &run.known.write_baseline {
            writable(path)?;
        }
        Ok(Self {
            options,
            run,
            record: options.record.as_deref().map(private).transpose()?,
            json: Named::create("write the report to", to.json.as_deref())?,
            junit: Named::create("write JUnit XML to", to.junit.as_deref())?,
            sarif: Named::create("write SARIF to", to.sarif.as_deref())?,
            folded: Named::create("write folded stacks to", options.folded.as_deref())?,
            root: root(to.source_root.as_deref())?,
        })
    }

    pub(super) fn record(&self) -> Option<&File> {
        self.record.as_ref()
    }

    /// `report` is of the last run; `None` where nothing could be traced.
    pub(super) fn deliver(&self, report: Option<&Report>, outcome: &Outcome) -> anyhow::Result<()> {
        let mut outcome = outcome.clone();
        let mut report = report.cloned();
        if let Some(report) = &mut report {
            report.totals.suppressed = outcome.suppressed() as u64;
            if self.options.redact_addrs {
                redact::redact_remote_addresses(report);
                outcome.take_sites_from(&report.sites);
            }
            Named::write(self.json.as_ref(), |out| json::write_report(out, report))?;
            Named::write(self.folded.as_ref(), |out| {
                folded::write_report(out, report)
            })?;
        }
        self.write_baseline(&outcome)?;
        self.for_ci(&outcome)?;
        self.tell(&outcome, report.as_ref())
    }

    fn for_ci(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let mut outcome = outcome.clone();
        if !self.run.outputs.show_addrs {
            for finding in &mut outcome.findings {
                redact::redact_all_but_loopback(&mut finding.site);
            }
            for note in &mut outcome.notes {
                *note = redact::without_addresses(std::mem::take(note));
            }
        }
        let root = &self.root;
        let version = env!("CARGO_PKG_VERSION");
        Named::write(self.junit.as_ref(), |out| junit::write(out, &outcome, root))?;
        Named::write(self.sarif.as_ref(), |out| {
            sarif::write(out, &outcome, version, root)
        })?;
        if self.run.outputs.github {
            let mut out = BufWriter::new(io::stdout().lock());
            github::write_annotations(&mut out, &outcome, root)
                .map_err(|error| file_error("write annotations to", Path::new("stdout"), error))?;
            if let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) {
                append(&path, &github::summary(&outcome, root))?;
            }
        }
        Ok(())
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
            ..Policy::default()
        };
        let is_application = |frame: &Frame| policy.is_application(frame);
        let options = HumanOptions {
            color: anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
            width: width(),
            verbose: self.options.verbosity > 0,
            every_frame: self.options.verbosity > 1,
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

impl Named {
    fn create(doing: &'static str, path: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let file = File::create(path).map_err(|error| file_error(doing, path, error))?;
        Ok(Some(Self {
            file,
            path: path.to_owned(),
            doing,
        }))
    }

    fn write(
        this: Option<&Self>,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(named) = this else {
            return Ok(());
        };
        let mut out = BufWriter::new(&named.file);
        write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| file_error(named.doing, &named.path, error))
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

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| file_error("add the summary to", path, error))
}

/// As debug information names it: absolute, without links where that can be had.
fn root(asked: Option<&Path>) -> anyhow::Result<Root> {
    let path = asked.unwrap_or(Path::new("."));
    let found = fs::canonicalize(path);
    let found = found.map_err(|error| file_error("look for sources in", path, error))?;
    Ok(Root::new(found))
}

fn width() -> usize {
    const DEFAULT: usize = 100;
    let size = rustix::termios::tcgetwinsize(io::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    if columns > 0 { columns } else { DEFAULT }
}
